/** Clicks on the beats, scheduled on the audio context's clock. */

const CLICK_SECONDS = 0.05;
const DOWNBEAT_HERTZ = 1760;
const BEAT_HERTZ = 1175;
const GAIN = 0.35;

export class Metronome {
  isOn = false;
  private beats: readonly number[] = [];
  private downbeats: ReadonlySet<number> = new Set();
  private next = 0;
  private readonly clicks = new Set<OscillatorNode>();

  setBeats(beats: readonly number[], downbeats: readonly number[]): void {
    const last = this.beats[this.next - 1] ?? -Infinity;
    this.beats = beats;
    this.downbeats = new Set(downbeats);
    this.begin(last + 0.01);
  }

  /** The first click is that of the first beat from a position on. */
  begin(position: number): void {
    const found = this.beats.findIndex((beat) => beat >= position);
    this.next = found < 0 ? this.beats.length : found;
  }

  /** Schedules the clicks up to a position. @param timeOf the time at which a position is reached. */
  advance(to: number, timeOf: (position: number) => number, output: AudioNode): void {
    for (; (this.beats[this.next] ?? Infinity) < to; this.next += 1) {
      const beat = this.beats[this.next] as number;
      if (this.isOn) this.click(timeOf(beat), this.downbeats.has(beat), output);
    }
  }

  silence(): void {
    for (const click of this.clicks) click.stop();
    this.clicks.clear();
  }

  private click(time: number, isDownbeat: boolean, output: AudioNode): void {
    const { context } = output;
    const oscillator = new OscillatorNode(context, { frequency: isDownbeat ? DOWNBEAT_HERTZ : BEAT_HERTZ });
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(isDownbeat ? GAIN : GAIN / 2, time);
    gain.gain.exponentialRampToValueAtTime(0.001, time + CLICK_SECONDS);
    oscillator.connect(gain).connect(output);
    oscillator.start(time);
    oscillator.stop(time + CLICK_SECONDS);
    oscillator.onended = () => this.clicks.delete(oscillator);
    this.clicks.add(oscillator);
  }
}
