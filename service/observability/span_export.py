"""The OpenTelemetry SDK's side of tracing: sampling, resource and export of spans.

This is the only module that imports the SDK (the extra ``tracing``); `tracing.start_tracing` loads
it.
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

_SERVICE_NAME = "mt3-service"


def build_provider(*, version: str, ratio: float, exporter: SpanExporter | None) -> TracerProvider:
    """Build the tracer provider; arguments as for `tracing.start_tracing`."""
    by_ratio = TraceIdRatioBased(ratio)
    ours = Resource({"service.name": _SERVICE_NAME, "service.version": version})
    provider = TracerProvider(
        # The environment (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) takes precedence.
        resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()),
        # A caller's flag has no influence on whether its requests are recorded.
        sampler=ParentBased(
            by_ratio, remote_parent_sampled=by_ratio, remote_parent_not_sampled=by_ratio
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter())
        if exporter is None
        else SimpleSpanProcessor(exporter)
    )
    return provider
