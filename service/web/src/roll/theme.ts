/** Colors of the roll, from the style sheet, for the light or the dark scheme. */

import { onDark } from "../transcription/palette";

export interface RollTheme {
  isDark: boolean;
  ground: string;
  blackKey: string;
  line: string;
  octave: string;
  text: string;
  wave: string;
  accent: string;
  loop: string;
  bar: string;
}

export function readTheme(element: Element): RollTheme {
  const style = getComputedStyle(element);
  const read = (name: string): string => style.getPropertyValue(name).trim();
  return {
    isDark: read("--is-dark") === "1",
    ground: read("--roll-ground"), blackKey: read("--roll-black"), line: read("--roll-line"),
    octave: read("--roll-octave"), text: read("--text-quiet"), wave: read("--roll-wave"),
    accent: read("--accent"), loop: read("--roll-loop"), bar: read("--roll-bar"),
  };
}

export function noteColor(color: string, theme: RollTheme): string {
  return theme.isDark ? onDark(color) : color;
}
