"""The chart as a folder or package: its values, what they install, and its digest. Helm is not needed.

What the templates make of the values is said here again, for images and accelerator classes alone; a test compares it
with what Helm itself renders.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import zlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.modelsource import ImageReference
from bailiwick.cli.files.manifests import UnusableError, content, parsed, read
from bailiwick.cli.files.values import Values
from bailiwick.weights import manifest
from bailiwick.workload.plan import Settings
from bailiwick.workload.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CHART: Final = Path(__file__).parents[4] / "charts/bailiwick"
_INSTALLED: Final = Path(sys.prefix) / "share/bailiwick/chart"
NAME: Final = "bailiwick"
MOST_BYTES: Final = 32 * 2**20
"""Of all files of a chart; Helm itself takes no more than 20 MiB."""
_CLASSES, _PLACEHOLDER = "acceleratorclasses", "registry.example/"
_REFERENCE: TypeAdapter[str] = TypeAdapter(ImageReference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One version of the chart. ``files`` is by path below its folder."""

    path: Path
    files: Mapping[str, bytes]
    archive: str | None
    """SHA-256 of the package; None for a folder."""
    version: str
    app_version: str

    @property
    def digest(self) -> str:
        """Of the package; of a folder, the one of the list of its files that `bailiwick weights digest` would write."""
        if self.archive:
            return self.archive
        return manifest.digest({path: hashlib.sha256(text).hexdigest() for path, text in self.files.items()})

    def text(self, name: str) -> bytes:
        """A file of it. Raises UnusableError."""
        if name not in self.files:
            raise UnusableError(f"{self.path} has no {name}, so it is no chart of Bailiwick that is whole")
        return self.files[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the chart installs with some values: images by the value that names them, and accelerator classes."""

    images: Mapping[str, str]
    classes: Mapping[str, AcceleratorClass]
    settings: Settings
    certificates: str
    """Who makes the webhook's certificate."""


def chosen(path: Path | None) -> Path:
    """The chart that somebody named, else that of this program's repository or package. Raises UnusableError."""
    for chart in (path,) if path else (CHART, _INSTALLED):
        if path or chart.is_dir():
            return chart
    raise UnusableError("no chart is beside this program; give --chart FOLDER-OR-PACKAGE")


def open_chart(path: Path) -> Chart:
    """A folder, or a package as `helm package` makes it. Raises UnusableError."""
    packed = None if path.is_dir() else content(path)
    files = dict(_folder(path) if packed is None else _package(path, packed))
    told = parsed(files.get("Chart.yaml", b""), f"{path}: Chart.yaml")
    if len(told) != 1 or not isinstance(told[0], dict) or told[0].get("name") != NAME:
        raise UnusableError(f"{path} is not Bailiwick's chart: its Chart.yaml must be there and say name: {NAME}")
    archive = f"sha256:{hashlib.sha256(packed).hexdigest()}" if packed is not None else None
    return Chart(
        path=path, files=files, archive=archive,
        version=str(told[0].get("version")), app_version=str(told[0].get("appVersion")),
    )  # fmt: skip


def install(chart: Chart, overrides: Sequence[Path] = ()) -> Installation:
    """What Helm would install of the chart with some files of values. Raises UnusableError."""
    values = Values.read(
        {f"{chart.path}: values.yaml": chart.text("values.yaml")} | {str(path): content(path) for path in overrides},
        schema=chart.text("values.schema.json"),
    )
    image = values.at("image.repository", str)
    digest, tag = values.at("image.digest", str), values.at("image.tag", str)
    images = {
        "image": f"{image}@{digest}" if digest else f"{image}:{tag}",
        **{path: values.at(path, str) for path in ("gate.image", "weights.image")},
    }
    for path, reference in images.items():
        if not is_image(reference):
            raise UnusableError(
                f"{values.told_by(path)}: {path} {reference!r} is no image such as registry.example/a:1"
            )
    classes = {each.metadata.name: each for each in _classes(chart, values)}
    _require_digests(values, images)
    return Installation(
        images=images,
        classes=classes,
        settings=Settings(
            gate_image=images["gate.image"],
            weights_image=images["weights.image"],
            # Which policies will govern is known where namespaces and policies are given, and judged there.
            serves_ungoverned=True,
            scaling=Scaling(
                pods_metric=values.at("autoscaling.podsMetric", str),
                prometheus=values.at("autoscaling.prometheus", str) or None,
                wake_query=values.at("autoscaling.wakeQuery", str) or None,
            ),
        ),
        certificates=values.at("admission.certificates", str),
    )


def _require_digests(values: Values, images: Mapping[str, str]) -> None:
    """As templates/pinned.yaml does. Raises UnusableError."""
    if "requireDigests" not in values.merged or not values.at("requireDigests", bool):
        return
    named = dict(images)
    if values.at("acceleratorClasses.cpu.install", bool):
        paths = (f"acceleratorClasses.cpu.{engine}" for engine in ("image", "llamaCpp.image"))
        named |= {path: values.at(path, str) for path in paths}
    for path, reference in named.items():
        if "@sha256:" not in reference:
            where = values.told_by("requireDigests")
            raise UnusableError(f"{where}: requireDigests is set, and {path} {reference!r} is not pinned by a digest")


def checked(accelerator: AcceleratorClass, where: str) -> AcceleratorClass:
    """A class whose images can be pulled. Raises UnusableError."""
    for serving in accelerator.spec.engines:
        if not is_image(serving.image):
            raise UnusableError(
                f"{where}: AcceleratorClass {accelerator.metadata.name}: the image {serving.image!r} of engine "
                f"{serving.name} in spec.engines is no image such as registry.example/a:1"
            )
    return accelerator


def families(chart: Chart) -> list[str]:
    """The families of the catalogue, as `acceleratorClasses.families` names them."""
    found = (path for path in chart.files if path.startswith(f"{_CLASSES}/"))
    names = (path.removeprefix(f"{_CLASSES}/").removesuffix(".yaml") for path in found)
    return sorted(name for name in names if name != "cpu")


def _classes(chart: Chart, values: Values) -> Iterator[AcceleratorClass]:
    """As templates/acceleratorclasses.yaml renders them."""
    files = ["cpu"] if values.at("acceleratorClasses.cpu.install", bool) else []
    known = families(chart)
    for family in values.at("acceleratorClasses.families", list):
        if family not in known:
            where = values.told_by("acceleratorClasses.families")
            raise UnusableError(
                f"{where}: acceleratorClasses.families names {family!r}; the chart has: {', '.join(known)}"
            )
        files.append(family)
    for name in files:
        file = f"{_CLASSES}/{name}.yaml"
        try:
            found = list((_plain_cpu if name == "cpu" else _family)(chart.text(file), f"{chart.path}: {file}", values))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UnusableError(f"{chart.path}: {file} is no file of Bailiwick's catalogue") from None
        where = values.told_by("acceleratorClasses.cpu" if name == "cpu" else "acceleratorClasses.registry")
        yield from (checked(read(AcceleratorClass, raw, f"{chart.path}: {file}"), where) for raw in found)


def _plain_cpu(text: bytes, where: str, values: Values) -> Iterator[dict[str, Any]]:
    """The class of plain CPUs with the images that values name."""
    (raw,) = parsed(text, where)
    for engine, path in zip(raw["spec"]["engines"], ("image", "llamaCpp.image"), strict=True):
        engine["image"] = values.at(f"acceleratorClasses.cpu.{path}", str)
    yield raw


def _family(text: bytes, where: str, values: Values) -> Iterator[dict[str, Any]]:
    """Classes of a family, with images where values mirror them and resources as values rename them."""
    registry = values.at("acceleratorClasses.registry", str)
    renamed = values.at("acceleratorClasses.resources", dict)
    for raw in parsed(text.decode().replace(_PLACEHOLDER, f"{registry}/").encode(), where):
        if names := raw["spec"].get("resources"):
            raw["spec"]["resources"] = list(dict.fromkeys(renamed.get(name, name) for name in names))
        yield raw


def is_image(reference: str) -> bool:
    """Whether it is an image as the API spells them."""
    try:
        _REFERENCE.validate_python(reference)
    except ValidationError:
        return False
    return True


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """What `helm package` would pack: without what .helmignore lists by name."""
    ignore = path / ".helmignore"
    patterns = content(ignore).decode().split() if ignore.is_file() else []
    for file in sorted(path.rglob("*")):
        below = file.relative_to(path)
        if file.is_file() and not any(fnmatch(part, pattern) for part in below.parts for pattern in patterns):
            yield below.as_posix(), content(file)


def _package(path: Path, packed: bytes) -> Iterator[tuple[str, bytes]]:
    left = MOST_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for member in archive:
                left -= member.size
                if left < 0:
                    raise UnusableError(f"{path} holds more than {MOST_BYTES} bytes, which no chart of Bailiwick does")
                if member.isfile() and (file := archive.extractfile(member)):
                    yield member.name.partition("/")[2], file.read()
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError, ValueError):
        raise UnusableError(f"{path} is neither a folder nor a package of `helm package` (.tgz)") from None
