/** Plays notes from the server's soundfont, in an audio worklet. Loaded when first needed. */

import processorUrl from "spessasynth_lib/dist/spessasynth_processor.min.js?url";
import type { WorkletSynthesizer } from "spessasynth_lib";
import type { TrackView } from "../transcription/tracks";
import { assignChannels, PORT } from "./channels";

const ALL_SOUND_OFF = 120;
const CONTROL_CHANGE = 0xb0;

export class Synthesizer {
  private channels = new Map<string, number>();

  private constructor(private readonly synth: WorkletSynthesizer) {}

  static async open(context: AudioContext, soundfont: ArrayBuffer, output: AudioNode): Promise<Synthesizer> {
    const [{ WorkletSynthesizer }] = await Promise.all([
      import("spessasynth_lib"), context.audioWorklet.addModule(processorUrl),
    ]);
    const synth = new WorkletSynthesizer(context, { eventsEnabled: false });
    await synth.soundBankManager.addSoundBank(soundfont, "main");
    await synth.isReady;
    synth.connect(output);
    return new Synthesizer(synth);
  }

  setTracks(tracks: readonly TrackView[], audible: ReadonlySet<string>): void {
    const channels = assignChannels(tracks);
    const needed = Math.max(0, ...channels.values()) + 1;
    while (this.synth.channelCount < needed) this.addPort();
    for (const track of tracks) {
      const number = channels.get(track.key) as number;
      if (!track.isDrum && this.channels.get(track.key) !== number) this.synth.programChange(number, track.program);
      const channel = this.synth.midiChannels[number];
      const isMuted = !audible.has(track.key);
      if (channel?.systemParameters.isMuted !== isMuted) channel?.setSystemParameter("isMuted", isMuted);
      if (channel?.systemParameters.gain !== track.volume) channel?.setSystemParameter("gain", track.volume);
    }
    this.channels = channels;
  }

  private addPort(): void {
    for (let added = 0; added < PORT; added += 1) this.synth.addNewChannel();
    // The library adds channels for drums, with all controllers at 0 (so without a volume).
    this.synth.reset();
    this.channels.clear();
  }

  /** @param time when, on the audio context's clock. */
  noteOn(key: string, pitch: number, velocity: number, time: number): void {
    const channel = this.channels.get(key);
    if (channel !== undefined) this.synth.noteOn(channel, pitch, velocity, { time });
  }

  noteOff(key: string, pitch: number, time: number): void {
    const channel = this.channels.get(key);
    if (channel !== undefined) this.synth.noteOff(channel, pitch, { time });
  }

  /** Ends all notes now, and those that are scheduled to begin before a time. */
  silence(until: number): void {
    this.synth.stopAll(true);
    for (const channel of this.channels.values())
      this.synth.sendMessage([CONTROL_CHANGE | (channel % PORT), ALL_SOUND_OFF, 0], channel - (channel % PORT), { time: until });
  }
}
