"""Runs Prometheus's own PromQL test scripts against a server over HTTP: loads by remote write, asks by instant and range query.

    Tests/Clients/promql_scripts.py --prometheus [FILE...]     against Debian's Prometheus, which checks this runner itself
    Tests/Clients/test_promql.py [FILE...]                     against `vagus dev`

The language is Prometheus's `promql/promqltest`. As its own runner does, every `clear` begins with an empty store, an
instant answer must equal the middle step of a range query one minute to both sides, and numbers are compared with a relative
tolerance of 1e-6. Standard library only.
"""

import argparse
import collections
import glob
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from vagus_process import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.environ.get("PROMQL_SCRIPTS", os.path.join(ROOT, "..", "shared", "data", "promql"))
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
TOLERANCE = 1e-6
CUSTOM = -53


class ScriptError(Exception):
    """The script could not be read."""


class Mismatch(Exception):
    """The server answered something else."""


# ------------------------------------------------------------------ the wire

def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, kind, payload):
    return varint(number << 3 | kind) + payload


def message(number, payload):
    return field(number, 2, varint(len(payload)) + payload)


def text(number, value):
    return message(number, value.encode())


def double(number, value):
    return field(number, 1, struct.pack("<d", value))


def zigzag(value):
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


def snappy(data):
    """Snappy's block format with literals only, which every decoder takes."""
    out = bytearray(varint(len(data)))
    for start in range(0, len(data), 65536):
        part = data[start:start + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part
    return bytes(out)


def spans_of(buckets):
    """One span and one count for each run of neighbouring buckets."""
    spans, counts, next_index = [], [], 0
    for index in sorted(buckets):
        if spans and index == next_index:
            spans[-1][1] += 1
        else:
            spans.append([index - next_index, 1])
        counts.append(buckets[index])
        next_index = index + 1
    return spans, counts


def histogram_bytes(histogram, at):
    out = double(2, histogram.count) + double(3, histogram.sum) + field(4, 0, zigzag(histogram.schema))
    out += double(5, histogram.zero_width) + double(7, histogram.zero_count)
    for numbers, buckets in (((8, 10), histogram.negative), ((11, 13), histogram.positive)):
        spans, counts = spans_of(buckets)
        for offset, length in spans:
            out += message(numbers[0], field(1, 0, zigzag(offset)) + field(2, 0, varint(length)))
        if counts:
            out += message(numbers[1], b"".join(struct.pack("<d", count) for count in counts))
    out += field(14, 0, varint(histogram.hint)) + field(15, 0, varint(at))
    if histogram.custom:
        out += message(16, b"".join(struct.pack("<d", bound) for bound in histogram.custom))
    return out


def series_bytes(labels, points):
    out = b"".join(message(1, text(1, name) + text(2, value)) for name, value in sorted(labels.items()) if value)
    for at, value in points:
        if isinstance(value, Histogram):
            out += message(4, histogram_bytes(value, at))
        else:
            out += message(2, double(1, value) + field(2, 0, varint(at)))
    return message(1, out)


# ------------------------------------------------------------------ histograms

class Histogram:
    """Sparse buckets by index, as a float histogram of Prometheus."""

    HINTS = {"unknown": 0, "reset": 1, "not_reset": 2, "gauge": 3}

    def __init__(self):
        self.schema = 0
        self.sum = self.count = self.zero_count = self.zero_width = 0.0
        self.positive, self.negative, self.custom, self.hint = {}, {}, [], 0

    @classmethod
    def parse(cls, source):
        """`schema:1 sum:3 count:22 z_bucket:1 z_bucket_w:0.001 buckets:[5 10 7] offset:0 n_buckets:[..] n_offset:0`"""
        found = cls()
        offsets, lists = {"offset": 0, "n_offset": 0}, {}
        for key, numbers, single in re.findall(r"(\w+):\s*(?:\[([^\]]*)\]|(\S+))", source):
            if key in ("buckets", "n_buckets", "custom_values"):
                lists[key] = [number(item) for item in numbers.split()]
            elif key in offsets:
                offsets[key] = int(single)
            elif key == "schema":
                found.schema = int(single)
            elif key == "counter_reset_hint":
                found.hint = cls.HINTS[single]
            else:
                name = {"sum": "sum", "count": "count", "z_bucket": "zero_count", "z_bucket_w": "zero_width"}[key]
                setattr(found, name, number(single))
        found.positive = {offsets["offset"] + i: n for i, n in enumerate(lists.get("buckets", []))}
        found.negative = {offsets["n_offset"] + i: n for i, n in enumerate(lists.get("n_buckets", []))}
        found.custom = lists.get("custom_values", [])
        return found

    def added(self, other, sign):
        """The sum of both at the coarser schema; zero buckets of one width, as the scripts have them."""
        out = Histogram()
        out.schema = min(self.schema, other.schema) if CUSTOM not in (self.schema, other.schema) else self.schema
        out.sum, out.count = self.sum + sign * other.sum, self.count + sign * other.count
        out.zero_count = self.zero_count + sign * other.zero_count
        out.zero_width = max(self.zero_width, other.zero_width)
        out.custom = self.custom or other.custom
        out.hint = self.hint if self.hint == other.hint else 3 if 3 in (self.hint, other.hint) else 0
        for side in ("positive", "negative"):
            buckets = collections.defaultdict(float)
            for one, factor in ((self, 1), (other, sign)):
                shift = one.schema - out.schema
                for index, n in getattr(one, side).items():
                    buckets[((index - 1) >> shift) + 1 if shift > 0 else index] += factor * n
            setattr(out, side, dict(buckets))
        return out

    def bound(self, index):
        if self.schema == CUSTOM:
            return -math.inf if index < 0 else self.custom[index] if index < len(self.custom) else math.inf
        return 2.0 ** (index * 2.0 ** -self.schema)

    def shown(self):
        """(lower, upper, count) of each bucket that is not empty, as the API lists them, sorted."""
        out = []
        for index, n in self.positive.items():
            lower = self.bound(index - 1)
            if self.schema == CUSTOM and index == 0:
                lower = -math.inf if not self.custom or self.custom[0] <= 0 else 0.0
            out.append((lower, self.bound(index), n))
        out += [(-self.bound(index), -self.bound(index - 1), n) for index, n in self.negative.items()]
        out.append((-self.zero_width, self.zero_width, self.zero_count))
        return sorted(bucket for bucket in out if bucket[2] != 0)


class Shown:
    """A histogram in an answer of the API."""

    def __init__(self, answer):
        self.count, self.sum = number(answer["count"]), number(answer["sum"])
        self.buckets = sorted((number(b[1]), number(b[2]), number(b[3])) for b in answer.get("buckets", []))

    def __repr__(self):
        return f"{{count:{self.count} sum:{self.sum} {self.buckets}}}"


def with_native(series):
    """For `load_with_nhcb`: the classic histograms once more as native ones with custom buckets."""
    groups = collections.defaultdict(lambda: collections.defaultdict(lambda: {"le": {}, "sum": 0.0, "count": None}))
    for labels, points in series:
        name = labels.get("__name__", "")
        suffix = next((s for s in ("_bucket", "_sum", "_count") if name.endswith(s)), None)
        if suffix is None or (suffix == "_bucket") != ("le" in labels):
            continue
        key = tuple(sorted({**labels, "__name__": name[:-len(suffix)], "le": ""}.items()))
        for at, value in points:
            if suffix == "_bucket":
                groups[key][at]["le"][number(labels["le"])] = value
            else:
                groups[key][at][suffix[1:]] = value
    out = []
    for key, moments in groups.items():
        points = []
        for at, moment in sorted(moments.items()):
            if not moment["le"] or any(is_stale(value) for value in moment["le"].values()):
                continue
            found, previous = Histogram(), 0.0
            found.schema = CUSTOM
            found.custom = sorted(le for le in moment["le"] if not math.isinf(le))
            for index, le in enumerate(found.custom):
                found.positive[index] = moment["le"][le] - previous
                previous = moment["le"][le]
            last = moment["le"].get(math.inf, moment["count"] if moment["count"] is not None else previous)
            found.positive[len(found.custom)] = last - previous
            found.count, found.sum = last, moment["sum"]
            if all(n >= 0 for n in found.positive.values()):
                points.append((at, found))
        if points:
            out.append((dict(key), points))
    return out


# ------------------------------------------------------------------ the language

# `0x10` among points is 0 eleven times, so hexadecimal digits come last.
NUMBER = r"[+-]?(?:[Ii]nf|[Nn]a[Nn]|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|0[xX][0-9a-fA-F]+)"
ITEM = re.compile(
    r"\s*(?:(?P<blank>_)(?:x(?P<blanks>\d+))?(?=\s|$)|(?P<stale>stale)(?:x(?P<stales>\d+))?(?=\s|$)"
    r"|\{\{(?P<hist>.*?)\}\}(?:(?P<sign>[+-])\{\{(?P<step>.*?)\}\})?(?:x(?P<htimes>\d+))?"
    rf"|(?P<num>{NUMBER})(?:(?P<inc>[+-](?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?x(?P<times>\d+))?(?=\s|$))")
COMMAND = re.compile(r"^(load|load_with_nhcb|clear|eval(?:_fail|_warn|_info|_ordered)?)\b")
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}


def number(source):
    source = source.replace("_", "")
    if source.lower().lstrip("+-").startswith("0x"):
        return float(int(source, 16))
    return float(source)


def is_stale(value):
    return isinstance(value, float) and struct.pack("<d", value) == struct.pack("<d", STALE)


def duration(source):
    """Milliseconds; a bare number is seconds."""
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", source):
        return round(float(source) * 1000)
    sign = -1 if source.startswith("-") else 1
    parts = re.findall(r"(\d+)(ms|[smhdwy])", source)
    if not parts or "".join(n + u for n, u in parts) != source.lstrip("+-"):
        raise ScriptError(f"no duration: {source}")
    return sign * sum(int(n) * UNITS[u] for n, u in parts)


def unquoted(source):
    if source[0] == "`":
        return source[1:-1]
    raw = source[1:-1]
    if source[0] == "'":
        raw = raw.replace("\\'", "'")
    out, index = bytearray(), 0
    simple = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
    while index < len(raw):
        if raw[index] != "\\":
            out += raw[index].encode()
            index += 1
        elif raw[index + 1] in simple:
            out += simple[raw[index + 1]].encode()
            index += 2
        elif raw[index + 1] in "xuU":
            size = {"x": 2, "u": 4, "U": 8}[raw[index + 1]]
            code = int(raw[index + 2:index + 2 + size], 16)
            out += bytes([code]) if size == 2 else chr(code).encode()
            index += 2 + size
        else:
            raise ScriptError(f"no escape: {source}")
    return out.decode(errors="surrogateescape")


LABEL = re.compile(r"""\s*(?:(?P<name>[A-Za-z_][\w]*|"(?:[^"\\]|\\.)*")\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
                   r"""|(?P<metric>"(?:[^"\\]|\\.)*"))\s*(?P<end>,|\})""")


def series_line(line):
    """Labels, and the text of the points."""
    found = re.match(r"\s*([A-Za-z_:][\w:]*)?\s*", line)
    labels, place = {}, found.end()
    if found.group(1):
        labels["__name__"] = found.group(1)
    if place < len(line) and line[place] == "{" and not line.startswith("{{", place):
        place += 1
        while True:
            end = re.match(r"\s*\}", line[place:])
            if end:
                place += end.end()
                break
            pair = LABEL.match(line, place)
            if not pair:
                raise ScriptError(f"no labels: {line}")
            if pair["metric"]:
                labels["__name__"] = unquoted(pair["metric"])
            else:
                labels[unquoted(pair["name"]) if pair["name"][0] == '"' else pair["name"]] = unquoted(pair["value"])
            place = pair.end()
            if pair["end"] == "}":
                break
    elif not found.group(1):
        raise ScriptError(f"no series: {line}")
    return labels, line[place:]


def points(source):
    """One value for each step; None where there is none."""
    out, place = [], 0
    source = source.strip()
    while place < len(source):
        item = ITEM.match(source, place)
        if not item or item.end() == place:
            raise ScriptError(f"no value: {source[place:]}")
        place = item.end()
        if item["blank"]:
            out += [None] * int(item["blanks"] or 1)
        elif item["stale"]:
            out += [STALE] * (int(item["stales"]) + 1 if item["stales"] else 1)
        elif item["hist"] is not None:
            value = Histogram.parse(item["hist"])
            for _ in range(int(item["htimes"] or 0) + 1):
                out.append(value)
                if item["step"] is not None:
                    value = value.added(Histogram.parse(item["step"]), 1 if item["sign"] == "+" else -1)
        else:
            value = number(item["num"])
            for _ in range(int(item["times"] or 0) + 1):
                out.append(value)
                value += number(item["inc"]) if item["inc"] else 0
    return out


Eval = collections.namedtuple("Eval", "line mode ranged expr start end step expected scalar string expects")


def blocks(path):
    """Commands of a script: ("load", series), ("clear",), or an `Eval`."""
    lines = open(path, encoding="utf-8").read().split("\n")
    index = 0
    while index < len(lines):
        line = lines[index].strip()
        index += 1
        if not line or line.startswith("#"):
            continue
        if not COMMAND.match(line):
            raise ScriptError(f"{path}:{index}: no command: {line}")
        start, body = index, []
        if line.split()[0] != "clear":
            while index < len(lines) and lines[index].strip() and not COMMAND.match(lines[index]):
                part = lines[index].strip()
                if not part.startswith("#"):
                    body.append(part)
                index += 1
        try:
            yield command(line, body, start)
        except ScriptError as error:
            raise ScriptError(f"{path}:{start}: {error}") from None


def command(line, body, at):
    word = line.split()[0]
    if word == "clear":
        return ("clear",)
    if word.startswith("load"):
        step = duration(line.split()[1])
        series = []
        for part in body:
            labels, rest = series_line(part)
            values = points(rest)
            series.append((labels, [(i * step, v) for i, v in enumerate(values) if v is not None]))
        return ("load", series + (with_native(series) if word == "load_with_nhcb" else []))
    instant = re.match(r"eval(_\w+)?\s+instant\s+(?:at\s+)?(\S+)?\s+(.*)$", line, re.S)
    ranged = re.match(r"eval(_\w+)?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+?)\s+(.*)$", line, re.S)
    found = ranged or instant
    if not found:
        raise ScriptError(f"no eval: {line}")
    mode = (found.group(1) or "_")[1:]
    start = duration(found.group(2))
    end, step = (duration(ranged.group(3)), duration(ranged.group(4))) if ranged else (start, 1)
    expects = [mode] if mode in ("fail", "warn", "info", "ordered") else []
    expected, scalar, string = [], None, None
    for part in body:
        if part.startswith("expected_fail_message"):
            expects.append("fail msg: " + part.split(None, 1)[1])
        elif part.startswith("expected_fail_regexp"):
            expects.append("fail regex: " + part.split(None, 1)[1])
        elif part.startswith("expect string"):
            string = unquoted(part[len("expect string"):].strip())
        elif part.startswith("expect range vector"):
            words = part.split()
            start, end, step = duration(words[4]), duration(words[6]), duration(words[8])
            expects.append("matrix")
        elif part.startswith("expect"):
            expects.append(part.split(None, 1)[1])
        elif re.fullmatch(NUMBER, part):
            scalar = number(part)
        else:
            labels, rest = series_line(part)
            expected.append((labels, points(rest)))
    return Eval(at, mode, bool(ranged), found.groups()[-1].strip(), start, end, step, expected, scalar, string, expects)


# ------------------------------------------------------------------ asking and comparing

def close(one, other):
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if one == other:
        return True
    if math.isinf(one) or math.isinf(other):
        return False
    return abs(one - other) <= TOLERANCE * (abs(one) + abs(other))


def same(got, wanted):
    if isinstance(wanted, Histogram) != isinstance(got, Shown):
        return False
    if not isinstance(wanted, Histogram):
        return close(got, wanted)
    if not close(got.count, wanted.count) or not close(got.sum, wanted.sum):
        return False
    shown = wanted.shown()
    return len(shown) == len(got.buckets) and all(
        all(close(a, b) for a, b in zip(one, other)) for one, other in zip(got.buckets, shown))


class Client:
    """The Prometheus API below one URL."""

    def __init__(self, url, takes_custom=True):
        self.url, self.takes_custom = url.rstrip("/"), takes_custom

    def write(self, series):
        """Sends samples in the order of their times, so that a server without an out-of-order window takes them all."""
        moments = collections.defaultdict(list)
        for labels, values in series:
            for at, value in values:
                if self.takes_custom or not isinstance(value, Histogram) or value.schema != CUSTOM:
                    moments[at].append((labels, value))
        body = bytearray()
        for at in sorted(moments):
            for labels, value in moments[at]:
                body += series_bytes(labels, [(at, value)])
            if len(body) > 1 << 20:
                self.post_write(bytes(body))
                body.clear()
        if body:
            self.post_write(bytes(body))

    def post_write(self, body):
        request = urllib.request.Request(self.url + "/api/v1/write", data=snappy(body), headers={
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})
        try:
            urllib.request.urlopen(request, timeout=60).read()
        except urllib.error.HTTPError as error:
            raise Mismatch(f"write refused: {error.code} {error.read()[:300].decode(errors='replace')}") from None

    def ask(self, path, **form):
        data = urllib.parse.urlencode(form, errors="surrogateescape").encode()
        request = urllib.request.Request(self.url + "/api/v1/" + path, data=data)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                return json.load(error)
            except ValueError:
                raise Mismatch(f"{path}: status {error.code} without JSON") from None


def read_series(result, ranged):
    """(labels, {time in ms: value}) of each series of an answer."""
    out = []
    for series in result:
        numbers = series.get("values", []) if ranged else [series["value"]] if "value" in series else []
        shown = series.get("histograms", []) if ranged else [series["histogram"]] if "histogram" in series else []
        found = {round(at * 1000): number(value) for at, value in numbers}
        found.update({round(at * 1000): Shown(value) for at, value in shown})
        out.append((series["metric"], found))
    return out


def seconds(milliseconds):
    return f"{milliseconds / 1000:.3f}"


def compare(got, wanted, ordered=False):
    """Both are lists of (labels, {time: value})."""
    wanted = [(labels, values) for labels, values in wanted if values]
    key = lambda labels: json.dumps({n: v for n, v in labels.items() if v}, sort_keys=True)
    if ordered and [key(labels) for labels, _ in got] != [key(labels) for labels, _ in wanted]:
        raise Mismatch(f"order: got {[key(g[0]) for g in got]}")
    answers = {}
    for labels, values in got:
        if key(labels) in answers:
            raise Mismatch(f"twice: {key(labels)}")
        answers[key(labels)] = values
    for labels, values in wanted:
        if key(labels) not in answers:
            raise Mismatch(f"missing: {key(labels)}, got {list(answers)[:8]}")
        answer = answers.pop(key(labels))
        if sorted(answer) != sorted(values):
            raise Mismatch(f"{key(labels)}: times {sorted(answer)} instead of {sorted(values)}")
        for at, value in values.items():
            if not same(answer[at], value):
                shown = (value.count, value.sum, value.shown()) if isinstance(value, Histogram) else value
                raise Mismatch(f"{key(labels)} at {at} ms: {answer[at]} instead of {shown}")
    if answers:
        raise Mismatch(f"not expected: {list(answers.items())[:4]}")


def check_failure(case, answer):
    if answer["status"] != "error":
        raise Mismatch("did not fail")
    for expect in case.expects:
        kind, _, rest = expect.partition(" ")
        if kind == "fail" and rest.startswith("msg:") and rest[4:].strip() not in answer["error"]:
            raise Mismatch(f"failed otherwise: {answer['error']}")
        if kind == "fail" and rest.startswith("regex:") and not re.search(rest[6:].strip(), answer["error"]):
            raise Mismatch(f"failed otherwise: {answer['error']}")


def check_annotations(case, answer, strict):
    told = {"warn": answer.get("warnings") or [], "info": answer.get("infos") or []}
    # Places in the query are not part of the scripts' texts.
    bare = {kind: [re.sub(r" \(\d+:\d+\)$", "", item) for item in items] for kind, items in told.items()}
    for expect in case.expects:
        kind, _, rest = expect.partition(" ")
        if kind in ("no_warn", "no_info") and told[kind[3:]]:
            raise Mismatch(f"annotated: {told[kind[3:]]}")
        if kind not in told:
            continue
        if not told[kind]:
            raise Mismatch(f"no {kind} annotation")
        if rest.startswith("msg:") and rest[4:].strip() not in bare[kind]:
            raise Mismatch(f"{kind} is {bare[kind]}")
        if rest.startswith("regex:") and not any(re.search(rest[6:].strip(), item) for item in bare[kind]):
            raise Mismatch(f"{kind} is {bare[kind]}")
    if strict and case.mode in ("", "warn", "info") and not any(e.split()[0] in told for e in case.expects if e != case.mode):
        for kind in told:
            if told[kind] and case.mode != kind:
                raise Mismatch(f"annotated: {told[kind]}")


def check(client, case, annotations, strict):
    """Asks one `eval` in all its forms."""
    fails = any(expect.split()[0] == "fail" for expect in case.expects)
    ordered = any(expect.split()[0] == "ordered" for expect in case.expects)
    if case.ranged:
        answer = client.ask("query_range", query=case.expr, start=seconds(case.start), end=seconds(case.end),
                            step=seconds(case.step))
    else:
        answer = client.ask("query", query=case.expr, time=seconds(case.start))
    if fails:
        return check_failure(case, answer)
    if answer["status"] != "success":
        raise Mismatch(answer.get("error", answer))
    if annotations:
        check_annotations(case, answer, strict)
    kind, result = answer["data"]["resultType"], answer["data"]["result"]
    steps = lambda values: {case.start + i * case.step: v for i, v in enumerate(values) if v is not None and not is_stale(v)}
    wanted = [(labels, steps(values)) for labels, values in case.expected]
    if case.ranged or "matrix" in case.expects:
        return compare(read_series(result, True), wanted)
    if kind == "scalar" or kind == "string":
        return check_plain(client, case, kind, result)
    compare(read_series(result, False), wanted, ordered)
    check_in_range(client, case, wanted, ordered)


def check_plain(client, case, kind, result):
    if kind == "string":
        if result[1] != case.string:
            raise Mismatch(f"{result[1]!r} instead of {case.string!r}")
        return
    if case.scalar is None or not close(number(result[1]), case.scalar):
        raise Mismatch(f"{result[1]} instead of {case.scalar}")
    check_in_range(client, case, [({}, {case.start: case.scalar})], False)


def check_in_range(client, case, wanted, ordered):
    """The instant answer once more, as the middle step of a range query."""
    if "range()" in case.expr or "step()" in case.expr or ordered:
        return
    answer = client.ask("query_range", query=case.expr, start=seconds(case.start - 60_000),
                        end=seconds(case.start + 60_000), step="60")
    if answer["status"] != "success":
        raise Mismatch(f"as a range: {answer.get('error')}")
    middle = [(labels, {at: v for at, v in values.items() if at == case.start})
              for labels, values in read_series(answer["data"]["result"], True)]
    try:
        compare([one for one in middle if one[1]], wanted)
    except Mismatch as error:
        raise Mismatch(f"as a range: {error}") from None


# ------------------------------------------------------------------ running

def run_file(path, start, annotations=True, strict=False, takes_custom=True):
    """Runs a script; `start` gives a context manager with the URL of an empty server. Returns (passed, failed, complaints)."""
    passed, complaints = 0, []
    server, client, waiting, used, load_error = None, None, [], False, None
    try:
        for item in blocks(path):
            if item[0] == "clear":
                waiting, load_error = [], None
                if server and used:
                    server.__exit__(None, None, None)
                    server, used = None, False
            elif item[0] == "load":
                # Of a series that one load has twice the last counts.
                waiting += {tuple(sorted(labels.items())): (labels, values) for labels, values in item[1]}.values()
            else:
                if server is None:
                    server = start()
                    client = Client(server.__enter__(), takes_custom)
                try:
                    if waiting:
                        used = True
                        try:
                            client.write(waiting)
                        except Mismatch as error:
                            load_error = error
                        waiting = []
                    if load_error:
                        raise load_error
                    check(client, item, annotations, strict)
                    passed += 1
                except (Mismatch, KeyError, TypeError, OSError) as error:
                    complaints.append(f"{os.path.basename(path)}:{item.line}: {item.expr}: {type(error).__name__}: {error}")
    finally:
        if server:
            server.__exit__(None, None, None)
    return passed, len(complaints), complaints


def run_files(paths, start, annotations=True, strict=False, show=3, takes_custom=True):
    """Runs scripts and prints counts of each; returns how many evals failed."""
    total = [0, 0]
    for path in paths or sorted(glob.glob(os.path.join(SCRIPTS, "*.test"))):
        passed, failed, complaints = run_file(path, start, annotations, strict, takes_custom)
        print(f"{os.path.basename(path):32} {passed:5} passed {failed:5} failed", flush=True)
        for complaint in complaints[:show]:
            print("    " + complaint[:400], flush=True)
        total[0] += passed
        total[1] += failed
    print(f"{'all':32} {total[0]:5} passed {total[1]:5} failed", flush=True)
    return total[1]


class Prometheus:
    """Debian's Prometheus with an empty store of its own, for as long as the context lasts."""

    CONFIG = "global:\n  evaluation_interval: 1m\n"

    def __init__(self, config=CONFIG, arguments=(), features="native-histograms,promql-at-modifier"):
        self.config, self.arguments, self.features = config, list(arguments), features

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="prometheus-test-")
        with open(os.path.join(self.folder, "prometheus.yml"), "w") as file:
            file.write(self.config)
        port = free_port()
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
             f"--enable-feature={self.features}", *self.arguments], stdout=self.log, stderr=self.log)
        self.url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(self.url + "/-/ready", timeout=5).read()
                return self.url
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"prometheus did not start: {open(self.folder + '/log').read()[-2000:]}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--prometheus", action="store_true", help="start Debian's Prometheus for each `clear`")
    parser.add_argument("--no-annotations", action="store_true", help="do not look at warnings and infos")
    parser.add_argument("--strict", action="store_true", help="an eval without `expect` must have no annotations")
    parser.add_argument("--show", type=int, default=3, help="complaints to print for each file")
    options = parser.parse_args()
    if not options.prometheus:
        parser.error("name a server: --prometheus; or run test_promql.py for Vagus")
    # Wide blocks, so that a load may begin hours before the last one's end.
    start = lambda: Prometheus(arguments=["--storage.tsdb.min-block-duration=24h", "--storage.tsdb.max-block-duration=24h"])
    # 2.42 refuses histograms with custom buckets: without them the rest of a load can be asked for.
    failed = run_files(options.files, start, not options.no_annotations, options.strict, options.show, takes_custom=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
