import { expect, test } from "vitest";
import { SseParser } from "../src/api/sse";

const TEXT = ': heartbeat\n\nretry: 1000\n\nid: 1\nevent: note\ndata: {"a":\ndata: 1}\n\nid: 2\r\nevent: end\r\ndata: x\r\n\r\n';
const EVENTS = [{ id: "1", event: "note", data: '{"a":\n1}' }, { id: "2", event: "end", data: "x" }];

test("events are whole wherever the text is cut", () => {
  for (let cut = 0; cut <= TEXT.length; cut += 1) {
    const parser = new SseParser();
    expect([...parser.push(TEXT.slice(0, cut)), ...parser.push(TEXT.slice(cut))]).toEqual(EVENTS);
  }
});
