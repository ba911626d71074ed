/** Records from the microphone, in the browser's own format. */

export class Microphone {
  private readonly pieces: Blob[] = [];

  private constructor(
    private readonly stream: MediaStream,
    private readonly recorder: MediaRecorder,
  ) {
    recorder.ondataavailable = ({ data }) => this.pieces.push(data);
  }

  /** @throws DOMException the user or the browser refuses the microphone. */
  static async open(): Promise<Microphone> {
    // Made for speech, these would cut music to pieces.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const microphone = new Microphone(stream, new MediaRecorder(stream));
    microphone.recorder.start(1000);
    return microphone;
  }

  static get isAvailable(): boolean {
    return "MediaRecorder" in window && navigator.mediaDevices !== undefined;
  }

  /** Ends the recording. */
  stop(): Promise<File> {
    return new Promise((resolve) => {
      this.recorder.onstop = () => {
        for (const track of this.stream.getTracks()) track.stop();
        const type = this.recorder.mimeType.split(";")[0] ?? "audio/webm";
        const suffix = type.split("/")[1] ?? "webm";
        const when = new Date().toISOString().slice(0, 16).replace("T", " ").replace(":", ".");
        resolve(new File(this.pieces, `Recording ${when}.${suffix}`, { type }));
      };
      this.recorder.stop();
    });
  }
}
