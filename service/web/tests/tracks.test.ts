import { expect, test } from "vitest";
import { assignChannels } from "../src/audio/channels";
import { layOut } from "../src/roll/lanes";
import { NoteIndex } from "../src/roll/note_index";
import { isAudible, keptNotes, updateTracks } from "../src/transcription/tracks";
import { BASS, DRUM, note } from "./notes";

const NOTES = [note(), DRUM, BASS];

test("tracks are by program, drums last, and keep what the person set", () => {
  const before = updateTracks(NOTES, []);
  expect(before.map((track) => track.key)).toEqual(["0", "33", "drums"]);
  const renamed = before.map((track) => ({ ...track, name: `my ${track.key}`, isMuted: true }));
  const after = updateTracks([...NOTES, note({ program: 5, instrument_name: "E-Piano" })], renamed);
  expect(after.map((track) => track.name)).toEqual(["my 0", "E-Piano", "my 33", "my drums"]);
  expect(after.map((track) => track.isMuted)).toEqual([true, false, true, true]);
});

test("a chosen color stays when others come", () => {
  const tracks = updateTracks([BASS], []).map((track) => ({ ...track, color: "#123456", hasOwnColor: true }));
  const after = updateTracks(NOTES, tracks);
  expect(after.find((track) => track.key === "33")?.color).toBe("#123456");
});

test("solo silences all others, and mute wins", () => {
  const tracks = updateTracks(NOTES, []);
  const [piano, bass] = tracks;
  if (!piano || !bass) throw new Error("missing");
  piano.isSolo = true;
  expect(tracks.map((track) => isAudible(track, tracks))).toEqual([true, false, false]);
  piano.isMuted = true;
  expect(tracks.some((track) => isAudible(track, tracks))).toBe(false);
});

test("dropped tracks are not exported", () => {
  const tracks = updateTracks(NOTES, []).map((track) => ({ ...track, isRemoved: track.isDrum }));
  expect(keptNotes(NOTES, tracks)).toEqual([note(), BASS]);
});

test("drums have their channel, and more than fifteen tracks get further ports", () => {
  const many = Array.from({ length: 20 }, (_, program) => note({ program }));
  const channels = assignChannels(updateTracks([...many, DRUM], []));
  expect(channels.get("drums")).toBe(9);
  expect(new Set(channels.values()).size).toBe(21);
  expect([...channels.values()].filter((channel) => channel % 16 === 9)).toEqual([9]);
});

test("lanes fill the height and hold every pitch", () => {
  const tracks = updateTracks(NOTES, []);
  for (const separate of [false, true]) {
    const lanes = layOut(NOTES, tracks, 400, separate);
    expect(lanes.length).toBe(separate ? 3 : 2);
    const last = lanes.at(-1);
    expect(last && last.top + last.height).toBeCloseTo(400);
    for (const each of NOTES) expect(lanes.some((lane) => lane.rows.includes(each.pitch))).toBe(true);
  }
});

test("notes are found by time, long ones too", () => {
  const long = note({ start_time: 0, end_time: 100 });
  const index = new NoteIndex([BASS, long, DRUM]);
  expect([...index.between(50, 60)]).toEqual([long]);
  expect([...index.starting(0.5, 2)]).toEqual([DRUM]);
});
