/** The transcription as sound: a WAV file, synthesized faster than it plays. */

import processorUrl from "spessasynth_lib/dist/spessasynth_processor.min.js?url";

const RATE = 44_100;
const TAIL_SECONDS = 2;

/** @param seconds length of the music. */
export async function renderWav(midi: ArrayBuffer, soundfont: ArrayBuffer, seconds: number): Promise<Blob> {
  const [{ WorkletSynthesizer, audioBufferToWav }, { BasicMIDI }] = await Promise.all([
    import("spessasynth_lib"), import("spessasynth_core"),
  ]);
  const context = new OfflineAudioContext(2, Math.ceil((seconds + TAIL_SECONDS) * RATE), RATE);
  await context.audioWorklet.addModule(processorUrl);
  const synth = new WorkletSynthesizer(context, { eventsEnabled: false });
  synth.connect(context.destination);
  await synth.startOfflineRender({
    midiSequence: BasicMIDI.fromArrayBuffer(midi),
    loopCount: 0,
    soundBankList: [{ bankOffset: 0, soundBankBuffer: soundfont }],
  });
  return audioBufferToWav(await context.startRendering());
}
