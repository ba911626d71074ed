/**
 * Plays the recording and the transcription on one clock: the audio context's.
 *
 * The recording is decoded as a whole, so that both start and loop at exactly the same sample.
 */

import type { Note } from "../api/types";
import { isAudible, type TrackView } from "../transcription/tracks";
import { Metronome } from "./metronome";
import { crossfade, level } from "./mix";
import { NoteScheduler } from "./note_scheduler";
import { Synthesizer } from "./synthesizer";

export interface Loop {
  start: number;
  end: number;
}

const LOOKAHEAD_SECONDS = 0.12;
const TICK_MILLISECONDS = 30;
/** From a click to the first sound: by then all that was scheduled before has ended. */
const START_SECONDS = 0.14;
const FADE_SECONDS = 0.015;

export class Player {
  private context: AudioContext | null = null;
  private recordingGain: GainNode | null = null;
  private synthGain: GainNode | null = null;
  private master: GainNode | null = null;
  private analyser: AnalyserNode | null = null;
  private synth: Synthesizer | null = null;
  private opening: Promise<void> | null = null;
  private source: AudioBufferSourceNode | null = null;
  private buffer: AudioBuffer | null = null;
  private readonly scheduler = new NoteScheduler();
  private readonly metronome = new Metronome();
  private tracks: readonly TrackView[] = [];
  private timer: number | null = null;
  private startTime = 0;
  private startPosition = 0;
  private mix = 1;
  private volume = 0.9;
  loop: Loop | null = null;
  duration = 0;
  isPlaying = false;

  /**
   * @param loadSoundfont fetches the soundfont.
   * @param onChange called when playback begins or ends.
   */
  constructor(
    private readonly loadSoundfont: () => Promise<ArrayBuffer>,
    private readonly onChange: () => void,
  ) {}

  setRecording(buffer: AudioBuffer | null): void {
    this.buffer = buffer;
    if (this.isPlaying) this.seek(this.position);
  }

  setNotes(notes: readonly Note[]): void {
    this.scheduler.setNotes(notes);
  }

  setTracks(tracks: readonly TrackView[]): void {
    this.tracks = tracks;
    const audible = tracks.filter((track) => isAudible(track, tracks)).map((track) => track.key);
    this.synth?.setTracks(tracks, new Set(audible));
  }

  setBeats(beats: readonly number[], downbeats: readonly number[]): void {
    this.metronome.setBeats(beats, downbeats);
  }

  /** Clicks on the beats or not; what is scheduled already is silenced. */
  setMetronome(isOn: boolean): void {
    this.metronome.isOn = isOn;
    if (!isOn) this.metronome.silence();
  }

  setMix(mix: number): void {
    this.mix = mix;
    this.applyGains();
  }

  setVolume(volume: number): void {
    this.volume = volume;
    this.applyGains();
  }

  /** Seconds, of what is heard now. */
  get position(): number {
    if (!this.isPlaying || this.context === null) return this.startPosition;
    const heard = this.context.currentTime - (this.context.outputLatency || 0);
    const position = this.startPosition + Math.max(heard - this.startTime, 0);
    return Math.min(position, this.duration);
  }

  /** Level of the sound now, 0 to 1. */
  get level(): number {
    if (this.analyser === null || !this.isPlaying) return 0;
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    return level(samples);
  }

  async play(): Promise<void> {
    if (this.isPlaying) return;
    await this.open();
    const atEnd = this.startPosition >= this.duration - 0.05;
    this.start(atEnd ? (this.loop?.start ?? 0) : this.startPosition);
  }

  pause(): void {
    const position = this.position;
    this.stop();
    this.startPosition = position;
    this.onChange();
  }

  seek(seconds: number): void {
    const position = Math.min(Math.max(seconds, 0), this.duration);
    if (!this.isPlaying) {
      this.startPosition = position;
      this.onChange();
      return;
    }
    this.stop();
    this.start(position);
  }

  /** Ends playback and forgets the recording. */
  clear(): void {
    this.stop();
    this.buffer = null;
    this.startPosition = 0;
    this.loop = null;
    this.scheduler.setNotes([]);
    this.metronome.setBeats([], []);
    this.setTracks([]);
    this.onChange();
  }

  private open(): Promise<void> {
    this.opening ??= this.prepare().catch((error: unknown) => {
      this.opening = null;
      throw error;
    });
    return this.opening;
  }

  private async prepare(): Promise<void> {
    const context = new AudioContext({ latencyHint: "playback" });
    await context.resume();
    const [master, recording, synth, analyser] = [context.createGain(), context.createGain(), context.createGain(), context.createAnalyser()];
    recording.connect(master);
    synth.connect(master);
    master.connect(analyser).connect(context.destination);
    this.synth = await Synthesizer.open(context, await this.loadSoundfont(), synth);
    this.context = context;
    [this.master, this.recordingGain, this.synthGain, this.analyser] = [master, recording, synth, analyser];
    this.applyGains();
    this.setTracks(this.tracks);
  }

  private start(position: number): void {
    const { context, synth } = this;
    if (context === null || synth === null) return;
    this.startTime = context.currentTime + START_SECONDS;
    this.startPosition = position;
    this.isPlaying = true;
    this.synthGain?.gain.setTargetAtTime(crossfade(this.mix).transcription, this.startTime - 0.01, FADE_SECONDS / 3);
    this.startRecording(context, position);
    this.scheduler.begin(position, this.startTime, synth);
    this.metronome.begin(position);
    this.tick();
    this.timer = window.setInterval(() => this.tick(), TICK_MILLISECONDS);
    this.onChange();
  }

  private startRecording(context: AudioContext, position: number): void {
    if (this.buffer === null || this.recordingGain === null || position >= this.buffer.duration) return;
    this.source = context.createBufferSource();
    this.source.buffer = this.buffer;
    this.source.connect(this.recordingGain);
    this.source.start(this.startTime, position);
  }

  private tick(): void {
    const { context, synth, master } = this;
    if (context === null || synth === null || master === null) return;
    const position = this.startPosition + context.currentTime - this.startTime;
    const end = this.loop !== null && this.startPosition < this.loop.end ? this.loop.end : this.duration;
    const to = Math.min(position + LOOKAHEAD_SECONDS, end);
    const timeOf = (at: number): number => this.startTime + at - this.startPosition;
    this.scheduler.advance(to, timeOf, synth);
    this.metronome.advance(to, timeOf, master);
    if (position < end) return;
    const isLoop = this.loop !== null && end === this.loop.end;
    this.stop();
    if (isLoop) this.start(this.loop?.start ?? 0);
    else {
      this.startPosition = this.duration;
      this.onChange();
    }
  }

  private stop(): void {
    if (this.timer !== null) window.clearInterval(this.timer);
    this.timer = null;
    this.isPlaying = false;
    this.source?.stop();
    this.source = null;
    this.metronome.silence();
    if (this.context === null) return;
    const now = this.context.currentTime;
    // Notes already scheduled must not be heard.
    this.synthGain?.gain.cancelScheduledValues(now);
    this.synthGain?.gain.setTargetAtTime(0, now, FADE_SECONDS / 3);
    this.synth?.silence(now + LOOKAHEAD_SECONDS);
  }

  private applyGains(): void {
    if (this.context === null) return;
    const gains = crossfade(this.mix);
    const now = this.context.currentTime;
    this.master?.gain.setTargetAtTime(this.volume, now, FADE_SECONDS);
    this.recordingGain?.gain.setTargetAtTime(gains.recording, now, FADE_SECONDS);
    if (this.isPlaying) this.synthGain?.gain.setTargetAtTime(gains.transcription, now, FADE_SECONDS);
  }
}
