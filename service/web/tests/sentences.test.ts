import { expect, test } from "vitest";
import { readFeatures } from "../src/api/features";
import { inPageWords, parseProblem, sentence } from "../src/api/problem";
import { fileStem, offeredFormats } from "../src/export/files";
import { readTranscription } from "../src/export/read_transcription";
import { parseRoute } from "../src/route";
import { onDark } from "../src/transcription/palette";
import { seconds } from "../src/ui/options_form";

test("a problem is a sentence with what to do", () => {
  const body = JSON.stringify({ code: "overloaded", detail: "too much", title: "t" });
  expect(sentence(parseProblem(503, body, "30"))).toBe("The server is too busy right now. Try again in 30 seconds.");
  expect(sentence(parseProblem(422, JSON.stringify({ code: "new", detail: "start is 9" }), null))).toBe("“From” is 9.");
  expect(sentence(parseProblem(502, "<html>", null))).toBe("The server answered with status 502.");
});

test("messages name options as the page does", () => {
  expect(inPageWords("the bars are uncertain; set others with time_signature= and first_downbeat=")).toBe("the bars are uncertain; set others under “Tempo and bars”");
  expect(inPageWords("set another with tempo= (a number, half or double)")).toBe("set another under “Tempo and bars”");
  expect(inPageWords("choose a shorter range with start and end")).toBe("choose a shorter range with “From” and “To”");
  expect(inPageWords("choose one with audio_track")).toBe("choose one with “Audio track”");
  expect(inPageWords("the start is silent")).toBe("the start is silent");
});

test("only a whole transcription is opened", () => {
  const note = { start_time: 0, end_time: 1, pitch: 60 };
  const saved = { id: "tr_1", notes: [note], warnings: [], duration_seconds: 2, usage: {}, model: {} };
  expect(readTranscription(JSON.stringify(saved))).toEqual(saved);
  for (const wrong of [null, { ...note, pitch: 300 }, { start_time: 0, end_time: 1 }, { ...note, start_time: -5 }, { ...note, end_time: 1e9 }])
    expect(readTranscription(JSON.stringify({ ...saved, notes: [wrong] }))).toBeNull();
  expect(readTranscription("no JSON")).toBeNull();
});

test("features are read from the contract, and may all be missing", () => {
  expect(readFeatures({ paths: {} })).toMatchObject({ exportOptions: null, hasJobs: false, formats: ["json", "midi"] });
  expect(offeredFormats(["json", "midi", "unknown"]).map(({ format }) => format)).toEqual(["midi", "json"]);
});

test("addresses name what they show", () => {
  expect(parseRoute("")).toEqual({ view: "start" });
  expect(parseRoute("#transcription=tr_1")).toEqual({ view: "transcription", id: "tr_1" });
  expect(parseRoute("#job=job_1")).toEqual({ view: "job", id: "job_1" });
  expect(parseRoute("#job=job_1&item=2")).toEqual({ view: "item", job: "job_1", number: 2 });
});

test("times are typed as on a clock", () => {
  expect([seconds("1:30"), seconds("90.5"), seconds("2,5"), seconds(""), seconds("x")]).toEqual(["90", "90.5", "2.5", "", "x"]);
});

test("files are named after the recording", () => {
  expect([fileStem("a.b.mp3"), fileStem("x/y:z.wav"), fileStem(".mp3")]).toEqual(["a.b", "x_y_z", "transcription"]);
});

test("dark colors are lighter on a dark ground, light ones stay", () => {
  expect(onDark("#DDCC77")).toBe("#ddcc77");
  expect(onDark("#332288")).not.toBe("#332288");
});
