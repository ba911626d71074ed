"""The values of a server's metrics, read from its registry as a scrape reads them."""


def sample(metrics, name, **labels):
    """Return one sample's value; 0 if it has not been set yet."""
    return metrics.registry.get_sample_value(name, labels) or 0.0
