/** The files of a transcription: written by the server from its (edited) JSON, at once. */

import type { Client } from "../api/client";
import type { Transcription } from "../api/types";

export interface FileFormat {
  /** Name of the `response_format`. */
  format: string;
  label: string;
  suffix: string;
  about: string;
  /** Shown only under "More formats". */
  isRare?: boolean;
}

/** In the order in which they are offered; only those that the server has. */
export const FORMATS: readonly FileFormat[] = [
  { format: "midi", label: "MIDI", suffix: ".mid", about: "for your DAW or notation program" },
  { format: "musicxml", label: "MusicXML", suffix: ".musicxml", about: "the score, for MuseScore and others" },
  { format: "score_pdf", label: "Score, PDF", suffix: ".pdf", about: "pages to print" },
  { format: "piano_roll", label: "Piano roll", suffix: ".png", about: "a picture" },
  { format: "piano_roll_svg", label: "Piano roll, SVG", suffix: ".svg", about: "a picture that scales", isRare: true },
  { format: "json", label: "JSON", suffix: ".json", about: "everything; can be opened here again" },
  { format: "jsonl", label: "JSON lines", suffix: ".jsonl", about: "a note per line", isRare: true },
  { format: "notesequence", label: "NoteSequence", suffix: ".pb", about: "Magenta's protobuf", isRare: true },
  { format: "notesequence_json", label: "NoteSequence JSON", suffix: ".notesequence.json", about: "the same as text", isRare: true },
];

export function offeredFormats(formats: readonly string[]): FileFormat[] {
  return FORMATS.filter(({ format }) => formats.includes(format));
}

export async function writeFile(
  client: Client, transcription: Transcription, format: string, options: Record<string, string> = {},
): Promise<Blob> {
  const query = new URLSearchParams({ response_format: format, ...options });
  const response = await client.fetch(`v1/exports?${query}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(transcription),
  });
  return response.blob();
}

export function fileStem(name: string): string {
  return name.replace(/\.[^.]{1,5}$/, "").replace(/[/\\:*?"<>|]/g, "_") || "transcription";
}

export async function zipFiles(files: ReadonlyMap<string, Blob>): Promise<Blob> {
  const { zip } = await import("fflate");
  const contents: Record<string, Uint8Array> = {};
  for (const [name, content] of files) contents[name] = new Uint8Array(await content.arrayBuffer());
  return new Promise((resolve, reject) => {
    zip(contents, { level: 6 }, (error, bytes) =>
      error ? reject(error) : resolve(new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "application/zip" })));
  });
}
