import { expect, test } from "vitest";
import { readFeatures } from "../src/api/features";
import { parseProblem, sentence } from "../src/api/problem";
import { fileStem, offeredFormats } from "../src/export/files";
import { parseRoute } from "../src/route";
import { onDark } from "../src/transcription/palette";
import { seconds } from "../src/ui/options_form";

test("a problem is a sentence with what to do", () => {
  const body = JSON.stringify({ code: "overloaded", detail: "too much", title: "t" });
  expect(sentence(parseProblem(503, body, "30"))).toBe("The server is too busy right now. Try again in 30 seconds.");
  expect(sentence(parseProblem(422, JSON.stringify({ code: "new", detail: "start is 9" }), null))).toBe("Start is 9.");
  expect(sentence(parseProblem(502, "<html>", null))).toBe("The server answered with status 502.");
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
  expect([seconds("1:30"), seconds("90.5"), seconds(""), seconds("x")]).toEqual(["90", "90.5", "", "x"]);
});

test("files are named after the recording", () => {
  expect([fileStem("a.b.mp3"), fileStem("x/y:z.wav"), fileStem(".mp3")]).toEqual(["a.b", "x_y_z", "transcription"]);
});

test("dark colors are lighter on a dark ground, light ones stay", () => {
  expect(onDark("#DDCC77")).toBe("#ddcc77");
  expect(onDark("#332288")).not.toBe("#332288");
});
