"""The demo: a real model on real flights, an upstream fault, and the service that finds it.

`flights` is the data, `model` what is in production, `stories` what breaks, `feed` the events that follow from the
three. `stage` runs the service on them: in memory, on the embedded broker (`embedded`), or on a given one (`topics`).
Nothing here is used by the service.
"""
