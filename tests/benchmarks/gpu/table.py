"""Format a report as text for the output of the run."""

from typing import Any


def format_report(data: dict[str, Any]) -> str:
    """Format the figures of a report, one block per kind of stage."""
    stages = data["stages"]
    environment = data["environment"]
    lines = [
        "",
        f"{data['weights']} - {environment['device_kind']}, jax {environment['versions']['jax']}",
        *(f"driver: {environment['driver']}" for _ in range(environment["driver"] is not None)),
    ]
    if "roofline" in stages:
        roof = stages["roofline"]
        lines.append(
            f"roofline: bfloat16 {roof['bfloat16_tflops']} TFLOP/s, float32"
            f" {roof['float32_tflops']} TFLOP/s, copy {roof['copy_gb_per_second']} GB/s"
        )
    for name, stage in stages.items():
        if name.startswith("correctness"):
            lines.append(_correctness(name, stage))
    lines += _throughput({n: s for n, s in stages.items() if n.startswith("throughput")})
    if data.get("best"):
        best = data["best"]
        lines.append(
            f"best: {best['times_real_time']} x real time, {best['tokens_per_second']} tokens/s,"
            f" {best['shapes']}"
        )
    if "verbs" in stages:
        lines += _verbs(stages["verbs"])
    if data.get("time_of_best"):
        lines.append(f"time of the best pass: {data['time_of_best']}")
    lines += [f"FAILED {name}: {failure['error']}" for name, failure in data["failed"].items()]
    if data["left_out"]:
        lines.append(f"left out, no time: {', '.join(data['left_out'])}")
    return "\n".join(lines)


def _correctness(name: str, stage: dict[str, Any]) -> str:
    notes = stage["notes"]
    return (
        f"{name}: {stage['equal']} of {stage['segments']} segments equal, {stage['near_tie']} part"
        f" at a near-tie (bound {stage['near_tie_bound']}, widest {stage['widest_gap']}),"
        f" {stage['different']} wrong; notes {notes['in_both']} in both of {notes['of_the_cpu']}"
    )


def _throughput(points: dict[str, dict[str, Any]]) -> list[str]:
    if not points:
        return []
    titles = (
        "encode",
        "iteration",
        "x real time",
        "tokens/s",
        " seconds",
        "notes s",
        "wrong",
        "GB peak",
    )
    lines = [f"{'rows':>16} {' '.join(titles)}"]
    for name, point in points.items():
        shapes, agreement = point["shapes"], point["agreement"]
        rows, batches = ("/".join(map(str, shapes[name])) for name in ("rows", "encode_batches"))
        peak = point["memory_peak_bytes_so_far"]
        lines.append(
            f"{rows:>16} {batches:>6}"
            f" {shapes['iteration_steps']:>5} {point['times_real_time']:>11}"
            f" {point['tokens_per_second']:>8} {min(point['seconds']):>8.3f}"
            f" {point['notes_seconds'] or '-':>7} {agreement['different'] if agreement else '-':>5}"
            f" {'-' if peak is None else round(peak / 1e9, 1):>7}"
            f"{'  varied music' if 'varied' in name else ''}"
        )
    return lines


def _verbs(verbs: dict[str, Any]) -> list[str]:
    encode = (
        f"encode of {verbs['encode_batch']}: {verbs['encode_ms']} ms, {verbs['encode_tflops']}"
        f" TFLOP/s ({verbs['encode_share']:.0%} of the roofline); insert {verbs['insert_ms']} ms"
    )
    steps = [
        f"step {shape:>10}: {step['ms']} ms, {step['tokens_per_second']} tokens/s,"
        f" {step['gb_per_second']} GB/s ({step['share']:.0%} of the roofline)"
        for shape, step in verbs["step"].items()
    ]
    return [encode, *steps]
