"""The OpenTelemetry SDK of Python exports metrics, logs and traces; they are read back by PromQL, Loki's API and Jaeger's.

Everything goes over OTLP/HTTP as gzipped protobuf, a post by hand as JSON, and what is wrong as both. The server is
`vagus dev`, or the one below the URL in OTLP_TEST_URL.
"""

import contextlib
import gzip
import json
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from google.protobuf.json_format import ParseDict
from google.rpc.status_pb2 import Status as RPCStatus
from opentelemetry import trace
from opentelemetry.metrics import Observation
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest, ExportMetricsServiceResponse)
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation, View)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from vagus_process import Vagus, wait_for

RESOURCE = Resource({
    "service.name": "shop", "service.namespace": "eu", "service.instance.id": "i-1", "host.name": "h1"})
GZIP = {"compression": Compression.Gzip, "timeout": 10}


def get(url, **form):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=10) as answer:
        return json.load(answer)


def post(url, body, content_type, encoding=None):
    """Status, headers and body of an answer, whatever it is."""
    headers = {"Content-Type": content_type, **({"Content-Encoding": encoding} if encoding else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def query(base, expression):
    """{labels without the name, as text: value or histogram} of an instant query."""
    answer = get(base + "/prometheus/api/v1/query", query=expression)
    assert answer["status"] == "success", answer
    out = {}
    for series in answer["data"]["result"]:
        labels = {n: v for n, v in series["metric"].items() if n != "__name__"}
        out[json.dumps(labels, sort_keys=True)] = series.get("histogram", series.get("value"))[1]
    return out


def value(base, expression):
    """The only value of a query that finds one series."""
    found = wait_for(lambda: query(base, expression), 10, expression)
    assert len(found) == 1, (expression, found)
    return next(iter(found.values()))


def near(one, other):
    return abs(float(one) - other) <= 1e-9 * abs(other)


def check_metrics(base, tracer):
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(base + "/otlp/v1/metrics", **GZIP), 3_600_000)
    provider = MeterProvider(resource=RESOURCE, metric_readers=[reader], views=[
        View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation(max_scale=3)),
        View(instrument_name="fine", aggregation=ExponentialBucketHistogramAggregation(max_scale=20)),
        View(instrument_name="wait", aggregation=ExplicitBucketHistogramAggregation([0.5, 2]))])
    meter = provider.get_meter("test")
    meter.create_counter("http.requests", unit="1").add(3, {"http.method": "GET"})
    meter.create_up_down_counter("queue.length").add(-2)
    meter.create_gauge("cpu.usage", unit="1").set(0.25)
    meter.create_observable_gauge("temperature", [lambda _: [Observation(21.5)]], "Cel")
    with tracer.start_as_current_span("measure") as span:
        wait = meter.create_histogram("wait", unit="s")
        for amount in (0.25, 1, 5):
            wait.record(amount)
        size, fine = meter.create_histogram("size", unit="By"), meter.create_histogram("fine")
        for amount in (0, 1, 2, 4, 1000):
            size.record(amount)
            fine.record(amount + 1)
        trace_id = f"{span.get_span_context().trace_id:032x}"
    assert provider.force_flush(10_000)

    who = '{instance="i-1",job="eu/shop"}'
    assert value(base, 'http_requests_total{job="eu/shop",instance="i-1",http_method="GET"}') == "3"
    assert value(base, "queue_length" + who) == "-2"
    assert value(base, "cpu_usage_ratio" + who) == "0.25"
    assert value(base, "temperature_celsius" + who) == "21.5"
    assert value(base, 'target_info{job="eu/shop",host_name="h1"}') == "1"
    buckets = query(base, "wait_seconds_bucket" + who)
    assert sorted((json.loads(labels)["le"], count) for labels, count in buckets.items()) == [
        ("+Inf", "3"), ("0.5", "1"), ("2", "2")], buckets
    assert value(base, "wait_seconds_sum" + who) == "6.25" and value(base, "wait_seconds_count" + who) == "3"
    for name, total in (("size_bytes", 1007), ("fine", 1012)):
        native = value(base, name + who)
        assert native["count"] == "5" and near(native["sum"], total), native
        assert sum(float(bucket[3]) for bucket in native["buckets"]) == 5, native
    # Scale 3: 1000 lies in (2^(79/8), 2^(80/8)].
    last = value(base, "size_bytes" + who)["buckets"][-1]
    assert near(last[1], 2 ** (79 / 8)) and near(last[2], 1024) and last[3] == "1", last
    assert near(value(base, f"histogram_count(size_bytes{who})"), 5)
    exemplars = get(base + "/prometheus/api/v1/query_exemplars", query="wait_seconds_bucket", start=time.time() - 600,
                    end=time.time() + 60)["data"]
    told = {e["labels"].get("trace_id") for series in exemplars for e in series["exemplars"]}
    assert trace_id in told, exemplars
    provider.shutdown()


def check_delta(base):
    """Delta temporality is refused with a reason, or added up: what is not allowed is to store it as it comes."""
    exporter = OTLPMetricExporter(base + "/otlp/v1/metrics", preferred_temporality={
        Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}, **GZIP)
    reader = PeriodicExportingMetricReader(exporter, 3_600_000)
    provider = MeterProvider(resource=RESOURCE, metric_readers=[reader])
    counter = provider.get_meter("test").create_counter("delta.jobs")
    for _ in range(2):
        counter.add(5)
        provider.force_flush(10_000)
    provider.shutdown()
    request = metric_request("delta.more", temporality=1)
    status, _, body = post(base + "/otlp/v1/metrics", request.SerializeToString(), "application/x-protobuf")
    assert status == 200, (status, body)
    answer = ExportMetricsServiceResponse.FromString(body)
    found = query(base, "delta_jobs_total")
    if answer.partial_success.rejected_data_points == 1:
        assert "delta" in answer.partial_success.error_message, answer
        assert not found, found
    else:
        assert list(found.values()) == ["10"], (answer, found)


def metric_request(name, temporality=2):
    """An export of one counter with the value 7, as a message."""
    now = str(time.time_ns())
    point = {"asInt": "7", "timeUnixNano": now, "startTimeUnixNano": now}
    metric = {"name": name, "sum": {"dataPoints": [point], "aggregationTemporality": temporality, "isMonotonic": True}}
    attributes = [{"key": "service.name", "value": {"stringValue": "hand"}}]
    return ParseDict({"resourceMetrics": [
        {"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": [metric]}]}]}, ExportMetricsServiceRequest())


def check_json(base):
    """OTLP/JSON by hand: ids in both cases, numbers as texts and as numbers, fields that nobody knows."""
    now = time.time_ns()
    span = {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "name": "by hand", "kind": 2,
            "startTimeUnixNano": str(now), "endTimeUnixNano": now + 5_000_000, "unknown": {"a": [1]},
            "attributes": [{"key": "answer", "value": {"intValue": 42}}], "status": {"code": 2, "message": "broke"}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "hand"}}]}
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()
    status, headers, answer = post(base + "/otlp/v1/traces", gzip.compress(body), "application/json", "gzip")
    assert status == 200 and headers["Content-Type"].startswith("application/json"), (status, headers, answer)
    assert "partialSuccess" not in json.loads(answer) or not json.loads(answer)["partialSuccess"], answer
    found = wait_for(lambda: trace_of(base, span["traceId"].lower()), 10, "the trace by hand")
    (got,) = found["spans"]
    assert got["operationName"] == "by hand" and got["duration"] == 5000, got
    tags = {tag["key"]: tag["value"] for tag in got["tags"]}
    assert tags["answer"] == 42 and tags["span.kind"] == "server" and tags["error"] in (True, "true"), tags

    record = {"timeUnixNano": str(now), "severityNumber": 17, "body": {"stringValue": "json says hello"}}
    body = json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}).encode()
    status, _, answer = post(base + "/otlp/v1/logs", body, "application/json")
    assert status == 200, (status, answer)
    wait_for(lambda: "json says hello" in lines(base, '{service_name="hand"}'), 10, "the line by hand")


def trace_of(base, trace_id):
    try:
        return get(f"{base}/jaeger/api/traces/{trace_id}")["data"][0]
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return None


def lines(base, selector):
    now = time.time_ns()
    answer = get(base + "/loki/api/v1/query_range", query=selector, start=now - 600 * 10**9, end=now + 60 * 10**9)
    assert answer["status"] == "success", answer
    return [value[1] for stream in answer["data"]["result"] for value in stream["values"]]


def check_logs(base, tracer):
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(base + "/otlp/v1/logs", **GZIP)))
    logger = logging.getLogger("test_otlp")
    logger.setLevel(logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.propagate = False
    with tracer.start_as_current_span("order"):
        logger.info("order taken")
        logger.error("payment refused", extra={"order": 17})
    assert provider.force_flush(10_000)
    wait_for(lambda: sorted(lines(base, '{service_name="shop"}')) == ["order taken", "payment refused"], 10, "the lines")
    assert lines(base, '{service_name="shop"} |= "refused"') == ["payment refused"]
    provider.shutdown()


def check_traces(base, tracer):
    with tracer.start_as_current_span("parent", kind=SpanKind.SERVER, attributes={"text": "t", "whole": -7}) as parent:
        with tracer.start_as_current_span("child") as child:
            child.add_event("cache.miss", {"key": "k1"})
            child.set_status(StatusCode.ERROR, "broke")
        trace_id = f"{parent.get_span_context().trace_id:032x}"
    found = wait_for(
        lambda: (t := trace_of(base, trace_id)) and len(t["spans"]) == 2 and t, 10, "both spans")
    spans = {span["operationName"]: span for span in found["spans"]}
    reference = spans["child"]["references"][0]
    assert (reference["refType"], reference["spanID"]) == ("CHILD_OF", spans["parent"]["spanID"]), reference
    tags = {tag["key"]: tag["value"] for tag in spans["parent"]["tags"]}
    assert tags["text"] == "t" and tags["whole"] == -7 and tags["span.kind"] == "server", tags
    fields = {f["key"]: f["value"] for f in spans["child"]["logs"][0]["fields"]}
    assert fields.get("event", fields.get("message")) == "cache.miss" and fields["key"] == "k1", fields
    assert found["processes"][spans["parent"]["processID"]]["serviceName"] == "shop", found["processes"]
    assert "shop" in get(base + "/jaeger/api/services")["data"]
    assert "parent" in get(base + "/jaeger/api/services/shop/operations")["data"]
    traces = get(base + "/jaeger/api/traces", service="shop", operation="parent", limit=5)["data"]
    assert trace_id in {trace["traceID"] for trace in traces}, traces


def check_bad_input(base):
    for path in ("traces", "metrics", "logs"):
        url = f"{base}/otlp/v1/{path}"
        for body, content_type in ((b"", "application/x-protobuf"), (b"{}", "application/json")):
            status, headers, _ = post(url, body, content_type)
            assert status == 200 and headers["Content-Type"].startswith(content_type), (status, path)
        status, headers, body = post(url, b"\x0a\xff\xff\xff\xff\x7f", "application/x-protobuf")
        assert status == 400 and RPCStatus.FromString(body).message, (status, body)
        status, headers, body = post(url, b"{", "application/json")
        assert status == 400 and json.loads(body)["message"], (status, body)
        status, _, _ = post(url, b"\x1f\x8b broken", "application/x-protobuf", "gzip")
        assert status == 400, status
        bomb = gzip.compress(bytes(30 << 20))
        status, _, _ = post(url, bomb, "application/x-protobuf", "gzip")
        assert status == 413, status
        status, _, _ = post(url, b"x", "text/plain")
        assert status == 415, status


@contextlib.contextmanager
def server():
    if os.environ.get("OTLP_TEST_URL"):
        yield os.environ["OTLP_TEST_URL"]
    else:
        with Vagus() as vagus:
            yield vagus.url


def main():
    with server() as base:
        provider = TracerProvider(resource=RESOURCE)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(base + "/otlp/v1/traces", **GZIP)))
        tracer = trace.get_tracer("test", tracer_provider=provider)
        check_metrics(base, tracer)
        check_delta(base)
        check_traces(base, tracer)
        check_logs(base, tracer)
        check_json(base)
        check_bad_input(base)
        provider.shutdown()
    print("test_otlp: passed")


if __name__ == "__main__":
    main()
