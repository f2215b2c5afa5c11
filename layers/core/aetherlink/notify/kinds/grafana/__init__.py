"""Grafana: an event becomes an annotation, which its panels show as a line."""
