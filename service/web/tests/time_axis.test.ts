import { describe, expect, test } from "vitest";
import { clamped, clock, fitAll, following, rulerTimes, scrolled, toPixels, toSeconds, zoomed } from "../src/roll/time_axis";

const whole = fitAll(1000, 100);

describe("time to pixels", () => {
  test("fits all and converts both ways", () => {
    expect(whole.pixelsPerSecond).toBe(10);
    expect(toPixels(whole, 25)).toBe(250);
    expect(toSeconds(whole, toPixels(whole, 33.3))).toBeCloseTo(33.3);
  });
  test("zooming keeps the time under the pointer", () => {
    const near = zoomed(whole, 4, 600);
    expect(near.pixelsPerSecond).toBe(40);
    expect(toSeconds(near, 600)).toBeCloseTo(60);
  });
  test("zooming out ends at the whole", () => {
    expect(zoomed(zoomed(whole, 4, 600), 0.01, 0)).toEqual(whole);
  });
  test("scrolling ends at the recording's ends", () => {
    const near = zoomed(whole, 4, 0);
    expect(scrolled(near, -500).start).toBe(0);
    expect(scrolled(near, 1e6).start).toBe(75);
  });
  test("the page turns when the cursor leaves it, and only then", () => {
    const near = zoomed(whole, 4, 0);
    expect(following(near, 20)).toBe(near);
    expect(following(near, 24).start).toBeCloseTo(22);
    expect(following(near, 0)).toBe(near);
  });
  test("a longer recording keeps the scale", () => {
    expect(clamped({ ...zoomed(whole, 4, 0), duration: 200 }).pixelsPerSecond).toBe(40);
  });
  test("labels of the ruler are apart", () => {
    expect(rulerTimes(whole)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  });
  test.each([[0, 0, "0:00"], [83.4, 0, "1:23"], [83.46, 1, "1:23.4"], [59.99, 1, "0:59.9"], [3725, 0, "1:02:05"]])(
    "%d s is %s",
    (seconds, decimals, text) => expect(clock(seconds, decimals)).toBe(text),
  );
});
