/** MIDI channels for tracks: drums on channel 9 as General MIDI has it, others on the rest. */

import type { TrackView } from "../transcription/tracks";

const DRUMS = 9;
/** Channels of a MIDI port. */
export const PORT = 16;

/** @returns a channel for each track's key; from 16 on in further groups of sixteen. */
export function assignChannels(tracks: readonly TrackView[]): Map<string, number> {
  const channels = new Map<string, number>();
  let next = 0;
  for (const track of tracks) {
    if (track.isDrum) {
      channels.set(track.key, DRUMS);
      continue;
    }
    // The tenth channel of every group is for drums.
    if (next % PORT === DRUMS) next += 1;
    channels.set(track.key, next);
    next += 1;
  }
  return channels;
}
