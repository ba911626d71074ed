/** Beats tapped along with the music -> a tempo. */

/** A longer pause begins a new count, in milliseconds: 24 beats per minute. */
const LONGEST_BEAT = 2500;
const FEWEST_TAPS = 4;

export class TapCounter {
  private taps: number[] = [];

  /**
   * Counts a tap.
   *
   * @param time milliseconds.
   * @returns beats per minute, from the mean interval; null before the fourth tap.
   */
  tap(time: number): number | null {
    const last = this.taps.at(-1);
    if (last !== undefined && time - last > LONGEST_BEAT) this.taps = [];
    this.taps.push(time);
    if (this.taps.length < FEWEST_TAPS) return null;
    return (60_000 * (this.taps.length - 1)) / (time - (this.taps[0] as number));
  }

  get count(): number {
    return this.taps.length;
  }
}
