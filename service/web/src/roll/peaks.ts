/** Loudest samples of short stretches of a recording, for drawing its waveform. */

export const PEAKS_PER_SECOND = 200;

/** @returns one value per stretch, 0 to 1: the largest magnitude over all channels. */
export function findPeaks(channels: readonly Float32Array[], sampleRate: number): Float32Array {
  const length = channels[0]?.length ?? 0;
  const peaks = new Float32Array(Math.ceil((length / sampleRate) * PEAKS_PER_SECOND));
  const stretch = sampleRate / PEAKS_PER_SECOND;
  for (const samples of channels)
    for (let index = 0; index < peaks.length; index += 1) {
      const end = Math.min(Math.floor((index + 1) * stretch), length);
      let peak = peaks[index] ?? 0;
      for (let at = Math.floor(index * stretch); at < end; at += 1) {
        const magnitude = Math.abs(samples[at] ?? 0);
        if (magnitude > peak) peak = magnitude;
      }
      peaks[index] = peak;
    }
  return peaks;
}

/** The largest peak between two times, in seconds. */
export function peakBetween(peaks: Float32Array, start: number, end: number): number {
  const first = Math.max(Math.floor(start * PEAKS_PER_SECOND), 0);
  const last = Math.min(Math.max(Math.ceil(end * PEAKS_PER_SECOND), first + 1), peaks.length);
  let peak = 0;
  for (let index = first; index < last; index += 1) peak = Math.max(peak, peaks[index] ?? 0);
  return peak;
}
