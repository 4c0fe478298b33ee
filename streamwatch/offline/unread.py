"""What a sample holds that a mapping of this version cannot reach, said plainly."""

from __future__ import annotations

from collections.abc import Iterator

from streamwatch.offline.look import Look


def out_of_reach(look: Look) -> Iterator[str]:
    if look.registry > 0.5 * max(1, sum(look.unreadable.values())):
        yield (f"{look.registry:,} records begin as Avro or Protobuf of a schema registry: only JSON is read")
    for path, field in look.fields.items():
        if field.json is not None:
            names = f" ({', '.join(field.json)})" if field.json else ""
            yield f"`{path}` is a text that holds JSON{names}: what is in it cannot be read; send it as an object"
        vectors = field.vectors
        if vectors is not None and not vectors.numbers and vectors.longest:
            names = f" ({', '.join(vectors.objects)})" if vectors.objects else ""
            yield f"`{path}` is a list of objects, lists or texts{names}: what is in it cannot be read"
    types = next(
        (field for name, field in look.headers.items() if name.lower() in ("ce_type", "ce-type")), None
    )
    if types is not None and types.distinct > 1:
        yield (
            f"the header ce_type has {types.distinct} values, so this topic holds several kinds of records: all of "
            "them are read as predictions"
        )
