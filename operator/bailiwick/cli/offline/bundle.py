"""`bailiwick bundle`: every image, chart and weight that an installation needs, for a mirror. It opens no connection.

Exit codes: 0 when all is listed, 1 when the list is not complete (or, with --require-digests, not all of it pinned), 2
when something given cannot be used.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bailiwick.cli.files.chart import chosen, install, open_chart
from bailiwick.cli.files.manifests import UnusableError, parsed, texts
from bailiwick.cli.offline.contents import Given, collect

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.cli.files.chart import Chart
    from bailiwick.cli.offline.contents import Contents, Need, Weights

COMPLETE, INCOMPLETE, UNUSABLE = 0, 1, 2
VERSION = 1
"""Of the JSON; it grows by fields, and changes its number when one goes or means something else."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `bailiwick bundle`."""
    parser.add_argument(
        "manifests", type=Path, nargs="*", metavar="FILE",
        help="manifests of what is to be served: SovereignModels, and their AcceleratorClasses, Authorities, "
        "ResidencyPolicies, Namespaces and profiles; a folder of *.yaml; or - for standard input",
    )  # fmt: skip
    parser.add_argument(
        "--chart",
        type=Path,
        help="the chart: a folder, or a .tgz of `helm package` (default: the one beside this program)",
    )
    parser.add_argument(
        "-f", "--values", type=Path, action="append", default=[], metavar="FILE",
        help="values that the chart is installed with, as for helm; may be repeated, later ones win",
    )  # fmt: skip
    parser.add_argument(
        "--all-classes", action="store_true",
        help="list the engines of every class that is installed, also of those that no model names",
    )  # fmt: skip
    parser.add_argument(
        "--require-digests", action="store_true",
        help="fail when an image is not pinned by a digest, or nothing stated tells weights from others",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "images"), default="text",
        help="text for people, json for programs, or only the images, one on each line",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """List; returns the exit code."""
    try:
        chart = open_chart(chosen(arguments.chart))
        installation = install(chart, arguments.values)
        given = _given(arguments.manifests)
    except UnusableError as error:
        sys.stderr.write(f"bailiwick bundle: {error}\n")
        return UNUSABLE
    contents = collect(installation, given, all_classes=arguments.all_classes)
    wrong = [*_incomplete(contents), *(_unpinned(contents) if arguments.require_digests else ())]
    write = {"text": _as_text, "json": _as_json, "images": _as_images}[arguments.output]
    sys.stdout.writelines(f"{line}\n" for line in write(chart, contents))
    sys.stderr.writelines(f"bailiwick bundle: {line}\n" for line in wrong)
    return INCOMPLETE if wrong else COMPLETE


def _given(paths: Sequence[Path]) -> Given:
    given = Given()
    for where, text in texts(paths):
        for document in parsed(text, where):
            try:
                given.add(document, where)
            except RecursionError:
                raise UnusableError(f"{where} holds something that contains itself, or is nested too deep") from None
    if paths and not given.models:
        told = ", ".join(map(str, paths))
        raise UnusableError(f"{told}: no SovereignModel is there; give some, or no file at all for the chart alone")
    return given


def _incomplete(contents: Contents) -> Iterator[str]:
    for each in contents.objections:
        yield f"not complete: {each.model}{each.named}: {each.reason}: {each.message}"


def _unpinned(contents: Contents) -> Iterator[str]:
    for reference in sorted(contents.images):
        if not digest_of(reference):
            yield f"not pinned: image {reference}: name it by digest in {_where(contents.images[reference])}"
    for each in contents.weights:
        if not each.recognised:
            yield (
                f"not pinned: {each.model}: nothing says what the files of {each.item.where}.source must hold; state "
                f"their digest, manifest or signature"
            )


def digest_of(reference: str) -> str | None:
    """The digest that pins an image; None where its name can come to mean another."""
    return reference.partition("@")[2] or None


def to_copy(reference: str) -> str:
    """The image as tools that copy name it: by digest alone where it has one, for they refuse a tag beside it."""
    name, at, digest = reference.partition("@")
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}@{digest}" if at else reference


def _notes(reference: str) -> Iterator[str]:
    """What a mirror cannot do with this image as it is named."""
    host, slash, _ = reference.partition("/")
    if host == "localhost":
        yield "no registry has it: build it, push it to yours, and name it so"
    elif host == "registry.example":
        yield "registry.example stands for your registry: name yours"
    elif not slash or not {".", ":"} & set(host):
        yield "it names no registry, and nodes decide for themselves which one they ask: name one"


def _where(needs: Mapping[Need, set[str]]) -> str:
    """Where the name of an image is written down."""
    need = min(needs, key=lambda each: (("Chart", "AcceleratorClass", "SovereignModel").index(each.kind), each))
    if need.kind == "Chart":
        return f"{need.use} of the chart's values"
    if need.kind == "AcceleratorClass" or need.use == "engine":
        classes = ", ".join(sorted(needs[need]))
        return f"spec.engines of AcceleratorClass {classes}, or in spec.engine.image of a model"
    return f"a source of SovereignModel {need.name}"


def _as_images(_: Chart, contents: Contents) -> Iterator[str]:
    yield from sorted({to_copy(reference) for reference in contents.images})


def _as_json(chart: Chart, contents: Contents) -> Iterator[str]:
    yield json.dumps({
        "version": VERSION,
        "complete": not contents.objections,
        "chart": {
            "name": "bailiwick", "version": chart.version, "appVersion": chart.app_version,
            "digest": chart.digest, "digestOf": "package" if chart.archive else "files",
        },
        "images": [_image(reference, needs) for reference, needs in sorted(contents.images.items())],
        "weights": [_weights(each) for each in contents.weights],
        "others": [{"what": what, "neededBy": sorted(models)} for what, models in sorted(contents.others.items())],
        "problems": [
            {"model": each.model, "variant": each.variant, "acceleratorClass": each.accelerator_class,
             "reason": each.reason, "message": each.message}
            for each in contents.objections
        ],
        "notes": contents.notes,
    }, indent=2)  # fmt: skip


def _image(reference: str, needs: Mapping[Need, set[str]]) -> Mapping[str, Any]:
    return {
        "reference": reference,
        "copy": to_copy(reference),
        "digest": digest_of(reference),
        "neededBy": [
            {"kind": need.kind, "name": need.name, "use": need.use, "acceleratorClasses": sorted(classes)}
            for need, classes in sorted(needs.items())
        ],
        "notes": list(_notes(reference)),
    }


def _weights(each: Weights) -> Mapping[str, Any]:
    item = each.item
    return {
        "model": each.model,
        "field": item.where,
        "source": item.source.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "stated": dict(_stated(each)),
        "recognised": each.recognised,
        "notes": list(_of_weights(each)),
    }


def _stated(each: Weights) -> Iterator[tuple[str, str]]:
    """What the model says of the files, beside where they are."""
    item = each.item
    if item.source.oci and item.pinned:
        yield "imageDigest", digest_of(item.source.oci.image) or ""
    if item.source.hugging_face:
        yield "commit", item.source.hugging_face.revision
    if item.digest:
        yield "digest", item.digest
    if item.manifest:
        yield "manifest", f"ConfigMap {item.manifest.config_map}, key {item.manifest.key}"
    if item.signature:
        beside = f"ConfigMap {item.signature.config_map}" if item.signature.config_map else "model.sig beside the files"
        yield "signature", f"of Authority {item.signature.authority}, {beside}"


def _of_weights(each: Weights) -> Iterator[str]:
    source = each.item.source
    if source.hugging_face and not source.hugging_face.endpoint:
        yield "the import asks the public hub: give endpoint, a mirror inside"
    if source.persistent_volume_claim or source.host_path:
        yield "somebody must bring the files there: nothing says where from"
    if not each.recognised:
        yield "nothing says what the files must hold: state their digest, manifest or signature"


def _as_text(chart: Chart, contents: Contents) -> Iterator[str]:
    yield f"chart bailiwick {chart.version}"
    of = "the package" if chart.archive else "its files; `helm package` it, and give the .tgz for the digest of that"
    yield f"  {chart.digest} is the digest of {of}"
    pinned = sum(1 for reference in contents.images if digest_of(reference))
    yield f"images: {len(contents.images)}, of which {pinned} are pinned by a digest"
    for reference, needs in sorted(contents.images.items()):
        yield f"  {reference}"
        yield from (f"    for   {line}" for line in _needed(needs))
        if not digest_of(reference):
            yield "    note  not pinned: the tag can come to mean another image"
        yield from (f"    note  {note}" for note in _notes(reference))
    if contents.weights:
        yield f"weights: {len(contents.weights)}"
    for each in contents.weights:
        yield f"  {each.model}, {each.item.where}: {_source(each)}"
        yield from (f"    {what:<11}  {value}" for what, value in _stated(each))
        yield from (f"    note         {note}" for note in _of_weights(each))
    if contents.others:
        yield "of other projects, not listed here"
    yield from (f"  {what}, for {', '.join(sorted(models))}" for what, models in sorted(contents.others.items()))
    yield from (f"note: {note}" for note in contents.notes)


def _needed(needs: Mapping[Need, set[str]]) -> Iterator[str]:
    """One line for all that need the image for the same."""
    uses: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for need, classes in sorted(needs.items()):
        on = f" on {', '.join(sorted(classes))}" if need.use == "engine" else ""
        uses[need.kind, need.name].append(f"{need.use}{on}")
    names: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (kind, name), what in uses.items():
        names[kind, ", ".join(what)].append(name)
    yield from (f"{kind} {', '.join(found)}: {what}" for (kind, what), found in names.items())


def _source(each: Weights) -> str:
    """Where the weights come from, in a few words."""
    source = each.item.source
    if source.oci:
        return source.oci.image
    if source.s3:
        return f"bucket {source.s3.bucket}/{source.s3.prefix} of {source.s3.endpoint}"
    if source.hugging_face:
        return f"{source.hugging_face.repository} of {source.hugging_face.endpoint or 'huggingface.co'}"
    if source.persistent_volume_claim:
        return f"claim {source.persistent_volume_claim.claim_name}/{source.persistent_volume_claim.path}".rstrip("/")
    return f"folder {source.host_path.path} of each node" if source.host_path else "nowhere"
