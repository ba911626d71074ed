/** Gains of recording and transcription for a crossfade. */

/**
 * @param mix 0: the recording alone; 1: the transcription alone.
 * @returns gains of equal power: the loudness stays the same between the ends.
 */
export function crossfade(mix: number): { recording: number; transcription: number } {
  const angle = (Math.min(Math.max(mix, 0), 1) * Math.PI) / 2;
  return { recording: Math.cos(angle), transcription: Math.sin(angle) };
}

/** Root mean square of samples in -1 to 1. */
export function level(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / Math.max(samples.length, 1));
}
