"""The peer: transport, driver, DHT, storage, HTTP API and command line."""

__version__ = "0.1.0"
