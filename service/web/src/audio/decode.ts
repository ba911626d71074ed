/** A file -> its samples. */

const FULL_RATE = 44_100;
const LOW_RATE = 22_050;
/** Above this size the samples are kept at half the rate: ten minutes in stereo take 200 MB. */
const LARGE_BYTES = 40 * 2 ** 20;

/** @returns null where the browser cannot read the format; the server may still be able to. */
export async function decodeRecording(file: Blob): Promise<AudioBuffer | null> {
  const rate = file.size > LARGE_BYTES ? LOW_RATE : FULL_RATE;
  try {
    return await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  }
}
