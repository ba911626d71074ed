/** Time to pixels: the visible part of the recording, and its scale. */

export interface TimeAxis {
  /** Seconds at the left edge. */
  start: number;
  pixelsPerSecond: number;
  /** Pixels. */
  width: number;
  /** Length of the whole, in seconds. */
  duration: number;
}

export const MAX_PIXELS_PER_SECOND = 800;

export function toPixels(axis: TimeAxis, seconds: number): number {
  return (seconds - axis.start) * axis.pixelsPerSecond;
}

export function toSeconds(axis: TimeAxis, pixels: number): number {
  return axis.start + pixels / axis.pixelsPerSecond;
}

export function fitAll(width: number, duration: number): TimeAxis {
  const seconds = Math.max(duration, 1);
  return { start: 0, pixelsPerSecond: width / seconds, width, duration: seconds };
}

/** Keeps the axis inside the recording, and no smaller than all of it. */
export function clamped(axis: TimeAxis): TimeAxis {
  const least = axis.width / axis.duration;
  const pixelsPerSecond = Math.min(Math.max(axis.pixelsPerSecond, least), Math.max(MAX_PIXELS_PER_SECOND, least));
  const seen = axis.width / pixelsPerSecond;
  const start = Math.min(Math.max(axis.start, 0), Math.max(axis.duration - seen, 0));
  return { ...axis, start, pixelsPerSecond };
}

/** Zooms; the time under `pixels` stays where it is. */
export function zoomed(axis: TimeAxis, factor: number, pixels: number): TimeAxis {
  const anchor = toSeconds(axis, pixels);
  const pixelsPerSecond = clamped({ ...axis, pixelsPerSecond: axis.pixelsPerSecond * factor }).pixelsPerSecond;
  return clamped({ ...axis, pixelsPerSecond, start: anchor - pixels / pixelsPerSecond });
}

export function scrolled(axis: TimeAxis, pixels: number): TimeAxis {
  return clamped({ ...axis, start: axis.start + pixels / axis.pixelsPerSecond });
}

/** Turns the page when the cursor leaves it; the same axis otherwise. */
export function following(axis: TimeAxis, seconds: number): TimeAxis {
  const pixels = toPixels(axis, seconds);
  if (pixels >= 0 && pixels <= axis.width * 0.92) return axis;
  const turned = clamped({ ...axis, start: seconds - (0.08 * axis.width) / axis.pixelsPerSecond });
  return turned.start === axis.start ? axis : turned;
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

/** Times of the ruler's labels, at least `spacing` pixels apart. */
export function rulerTimes(axis: TimeAxis, spacing = 80): number[] {
  const step = STEPS.find((seconds) => seconds * axis.pixelsPerSecond >= spacing) ?? 3600;
  const times: number[] = [];
  const end = Math.min(toSeconds(axis, axis.width), axis.duration);
  for (let index = Math.ceil(axis.start / step); index * step <= end + 1e-9; index += 1) times.push(index * step);
  return times;
}

/** 83.4 -> "1:23"; with `decimals`, "1:23.4". */
export function clock(seconds: number, decimals = 0): string {
  const scale = 10 ** decimals;
  const whole = Math.floor(Math.max(seconds, 0) * scale + 1e-6);
  const minutes = Math.floor(whole / (60 * scale));
  const rest = (whole - minutes * 60 * scale) / scale;
  const text = rest.toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${text}` : `${minutes}:${text}`;
}
