import { expect, test } from "vitest";
import { crossfade, level } from "../src/audio/mix";
import { type NoteSink, NoteScheduler } from "../src/audio/note_scheduler";
import { findPeaks, peakBetween, PEAKS_PER_SECOND } from "../src/roll/peaks";
import { note } from "./notes";

class Log implements NoteSink {
  readonly events: [string, number, number][] = [];
  noteOn(_key: string, pitch: number, _velocity: number, time: number): void {
    this.events.push(["on", pitch, time]);
  }
  noteOff(_key: string, pitch: number, time: number): void {
    this.events.push(["off", pitch, time]);
  }
}

const NOTES = [note({ pitch: 60, start_time: 1, end_time: 2 }), note({ pitch: 64, start_time: 1.5, end_time: 3 })];

test("each note begins and ends once, in whatever steps time goes on", () => {
  for (const step of [0.03, 0.4, 5]) {
    const scheduler = new NoteScheduler();
    const log = new Log();
    scheduler.setNotes(NOTES);
    scheduler.begin(0, 10, log);
    for (let to = step; to < 5 + step; to += step) scheduler.advance(to, (position) => position + 10, log);
    expect(log.events.filter(([what]) => what === "on")).toEqual([["on", 60, 11], ["on", 64, 11.5]]);
    expect(log.events.filter(([what]) => what === "off").map(([, pitch]) => pitch).sort()).toEqual([60, 64]);
  }
});

test("what sounds at the position begins with it", () => {
  const scheduler = new NoteScheduler();
  const log = new Log();
  scheduler.setNotes(NOTES);
  scheduler.begin(1.75, 10, log);
  expect(log.events).toEqual([["on", 60, 10], ["on", 64, 10]]);
});

test("the crossfade keeps the power", () => {
  for (const mix of [0, 0.25, 0.5, 1]) {
    const { recording, transcription } = crossfade(mix);
    expect(recording ** 2 + transcription ** 2).toBeCloseTo(1);
  }
  expect(crossfade(0).transcription).toBe(0);
});

test("the level is the root mean square", () => {
  expect(level(new Float32Array([0.5, -0.5]))).toBe(0.5);
  expect(level(new Float32Array())).toBe(0);
});

test("peaks are the loudest samples of all channels", () => {
  const rate = 1000;
  const [left, right] = [new Float32Array(rate), new Float32Array(rate)];
  left[500] = 0.25;
  right[502] = -0.75;
  const peaks = findPeaks([left, right], rate);
  expect(peaks.length).toBe(PEAKS_PER_SECOND);
  expect(peakBetween(peaks, 0.49, 0.51)).toBe(0.75);
  expect(peakBetween(peaks, 0, 0.4)).toBe(0);
});
