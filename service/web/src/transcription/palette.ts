/**
 * One color per instrument: Okabe and Ito's, which color-blind people can distinguish, then Tol's
 * muted set. The same as in the picture of the piano roll (`mt3_model/export/piano_roll.py`).
 */

const COLORS = [
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288",
  "#882255", "#44AA99", "#999933", "#AA4499", "#117733", "#DDCC77", "#88CCEE",
] as const;
const DRUMS = "#7A808C";

export function trackColor(index: number, isDrum: boolean): string {
  return isDrum ? DRUMS : (COLORS[index % COLORS.length] ?? DRUMS);
}

/** The color on a dark ground: mixed with white where it would be too dark to see. */
export function onDark(color: string): string {
  const channels = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
  const [red, green, blue] = channels.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  const white = Math.max(0, 0.5 - luminance * 1.6);
  const mixed = channels.map((value) => Math.round(255 * (value + (1 - value) * white)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
