"""Models are stored whole, found again, given roles, taken back, and never half read."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import numpy as np
import pytest
import skops.io

from models.registry.errors import (
    ManifestError,
    ModelError,
    ModelHashError,
    ModelMissingError,
    ModelStorageError,
    ModelTooLargeError,
    ModelTypeError,
)
from models.registry.feature_drift import sample_features
from models.registry.manifest import Announcement, Manifest, Pointer, config_hash, decode, encode
from models.registry.model_files import pack_state
from models.registry.registry import Registry


def manifest(name: str = "traffic", **changes: Any) -> Manifest:
    settings = changes.pop("settings", {"false_alarms_per_series_per_week": 0.1})
    return Manifest(
        name=name,
        detector="traffic",
        version="",
        sha256="",
        size=0,
        from_ms=1_700_000_000_000,
        to_ms=1_700_086_400_000,
        rows=1440,
        features=("rate",),
        settings=settings,
        metrics={"alarms_per_series_per_week": 0.1, "precision": None},
        sample=sample_features(["rate"], np.arange(100.0)[:, None]),
        config_hash=config_hash("traffic", settings),
        code_version="0.1.0",
        created_ms=0,
        **changes,
    )


def model(number: int) -> bytes:
    return pack_state({"number": number, "array": np.arange(number)})


@pytest.fixture(params=["folder", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "folder":
            yield str(tmp_path / "models [1]*")
        case "file":
            yield f"file://{tmp_path}/models"
        case _:
            name = f"memory://{uuid.uuid4().hex}"
            yield name
            memory = fsspec.filesystem("memory")
            if memory.exists(name):
                memory.rm(name, recursive=True)


@pytest.fixture
def registry(url: str) -> Registry:
    time = count(1_700_000_000_000)
    return Registry(url, "shop", clock_ms=lambda: next(time))


def stored(registry: Registry, *numbers: int) -> list[str]:
    return [registry.put(manifest(), model(number)).version for number in numbers]


def test_a_model_comes_back_with_its_manifest(registry: Registry, url: str) -> None:
    put = registry.put(manifest(), model(3))
    again = Registry(url, "shop")
    assert again.names() == ("traffic",)
    assert again.versions("traffic") == (put.version,)
    loaded = again.load("traffic", "latest")
    assert loaded.manifest == put
    assert loaded.state["array"].tolist() == [0, 1, 2]
    assert put.size == len(model(3))
    assert put.version.startswith("000001-")


def test_an_empty_registry_has_nothing(registry: Registry) -> None:
    assert registry.names() == ()
    assert registry.versions("traffic") == ()
    assert registry.pointer("traffic", "champion").version is None
    with pytest.raises(ModelMissingError, match="traffic has no champion"):
        registry.load("traffic")
    with pytest.raises(ModelMissingError, match="it has none yet"):
        registry.load("traffic", "latest")


def test_versions_count_up_and_equal_content_is_one_version(registry: Registry) -> None:
    first, second, again = stored(registry, 1, 2, 1)
    assert again == first
    assert registry.versions("traffic") == (first, second)
    assert [first[:6], second[:6]] == ["000001", "000002"]
    other = registry.put(manifest(settings={"seed": 1}), model(1)).version
    assert other[:6] == "000003"
    assert other[7:] != first[7:]


def test_apps_and_models_are_apart(registry: Registry, url: str) -> None:
    stored(registry, 1)
    registry.put(manifest("logs"), model(1))
    assert registry.names() == ("logs", "traffic")
    assert Registry(url, "other").names() == ()


def test_versions_are_found_by_what_tells_them_apart(registry: Registry) -> None:
    first, second = stored(registry, 1, 2)
    registry.appoint("traffic", "shadow", first)
    assert registry.find("traffic", first) == first
    assert registry.find("traffic", "2") == second
    assert registry.find("traffic", first[7:12]) == first
    assert registry.find("traffic", "shadow") == first
    assert registry.find("traffic", "latest") == second
    with pytest.raises(ModelMissingError, match="2 versions are meant by '0000'"):
        registry.find("traffic", "0000")
    with pytest.raises(ModelMissingError, match="no version is meant by 'ffff-'"):
        registry.find("traffic", "ffff-")


def test_roles_are_given_and_rolled_back_one_by_one(registry: Registry) -> None:
    one, two, three = stored(registry, 1, 2, 3)
    for version in (one, two, three):
        announced = registry.appoint("traffic", "champion", version, by="ann", reason="better")
        assert (announced.version, announced.role) == (version, "champion")
        assert announced.sha256 == registry.manifest("traffic", version).sha256
    assert registry.rollback("traffic", by="bob", reason="pages at night").version == two
    assert registry.load("traffic").manifest.version == two
    assert registry.rollback("traffic").version == one
    with pytest.raises(ManifestError, match="nothing to go back to"):
        registry.rollback("traffic")
    assert registry.load("traffic").manifest.version == one
    history = registry.pointer("traffic", "champion").history
    assert [appointment.version for appointment in history] == [one, two, three, two, one]
    assert (history[3].by, history[3].reason) == ("bob", "pages at night")
    registry.appoint("traffic", "champion", three)
    assert registry.rollback("traffic").version == one


def test_a_role_can_be_left_empty(registry: Registry) -> None:
    (one,) = stored(registry, 1)
    registry.appoint("traffic", "shadow", one)
    announced = registry.appoint("traffic", "shadow", None)
    assert (announced.version, announced.sha256) == (None, None)
    with pytest.raises(ModelMissingError, match="no shadow"):
        registry.load("traffic", "shadow")


def test_what_is_not_there_gets_no_role(registry: Registry) -> None:
    (one,) = stored(registry, 1)
    registry.appoint("traffic", "champion", one)
    with pytest.raises(ModelMissingError):
        registry.appoint("traffic", "champion", "000009-0123456789ab")
    assert registry.pointer("traffic", "champion").version == one


def test_the_newest_and_those_with_a_role_are_kept(registry: Registry) -> None:
    versions = stored(registry, *range(1, 8))
    registry.appoint("traffic", "champion", versions[0])
    registry.appoint("traffic", "champion", versions[1])
    registry.appoint("traffic", "shadow", versions[3])
    assert registry.prune("traffic", 2) == (versions[2], versions[4])
    assert registry.versions("traffic") == tuple(versions[number] for number in (0, 1, 3, 5, 6))
    assert registry.rollback("traffic").version == versions[0]
    assert registry.prune("traffic", 9) == ()
    assert registry.put(manifest(), model(9)).version[:6] == "000008"
    with pytest.raises(ValueError, match="at least one"):
        registry.prune("traffic", 0)


@pytest.mark.parametrize("name", ["../traffic", "", "a/b", ".hidden", "a" * 101])
def test_names_that_are_no_folders_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ModelError):
        registry.load(name, "latest")
    with pytest.raises(ModelError):
        registry.put(manifest(name), model(1))
    with pytest.raises(ModelError):
        registry.manifest("traffic", f"{name}/000001-0123456789ab")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def local(folder: Path) -> Registry:
    return Registry(str(folder), "shop")


def champion(registry: Registry, folder: Path) -> Path:
    (version,) = stored(registry, 1)
    registry.appoint("traffic", "champion", version)
    return folder / "shop" / "traffic" / version


def test_nothing_but_whole_files_is_left(local: Registry, folder: Path) -> None:
    place = champion(local, folder)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        f"shop/traffic/{place.name}/manifest.json",
        f"shop/traffic/{place.name}/model.skops",
        "shop/traffic/champion.json",
    ]


def test_a_broken_model_is_an_error_with_its_reason(local: Registry, folder: Path) -> None:
    place = champion(local, folder)
    good, told = (place / "model.skops").read_bytes(), (place / "manifest.json").read_text()

    def reason() -> str:
        with pytest.raises(ModelError) as caught:
            local.load("traffic")
        return caught.value.reason

    (place / "model.skops").write_bytes(good[:-1] + b"x")
    assert reason() == "hash"
    (place / "model.skops").write_bytes(b"")
    assert reason() == "hash"
    (place / "model.skops").unlink()
    assert reason() == "missing"
    (place / "model.skops").mkdir()
    assert reason() == "storage"
    (place / "model.skops").rmdir()
    (place / "model.skops").write_bytes(good)
    assert local.load("traffic").state["number"] == 1
    for text in ("", "{", "[]", told.replace("traffic", "other"), told.replace('"size"', '"sise"'), "\udcff"):
        (place / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
        assert reason() == "manifest"
    (place / "manifest.json").write_text(told)
    for text in ("{}", '{"role": "shadow"}', '{"role": "champion", "history": [{"version": "../../x"}]}'):
        (place.parent / "champion.json").write_text(text)
        assert reason() in ("manifest", "missing")
    (place.parent / "champion.json").write_text(
        '{"role": "champion", "history": [{"version": "../../x", "previous": null, "at_ms": 1}]}'
    )
    assert reason() == "manifest"


def test_what_cannot_be_loaded_gets_no_role(local: Registry, folder: Path) -> None:
    first, second = stored(local, 1, 2)
    local.appoint("traffic", "champion", first)
    local.appoint("traffic", "champion", second)
    (folder / "shop" / "traffic" / first / "model.skops").write_bytes(b"damaged")
    with pytest.raises(ModelHashError):
        local.appoint("traffic", "shadow", first)
    with pytest.raises(ModelHashError):
        local.rollback("traffic")
    assert local.pointer("traffic", "champion").version == second
    assert local.pointer("traffic", "shadow").version is None


def test_a_hash_that_fits_does_not_make_a_hostile_file_good(local: Registry) -> None:
    version = local.put(manifest(), b"no skops file").version
    with pytest.raises(ModelError) as caught:
        local.load("traffic", version)
    assert caught.value.reason == "format"
    hostile = skops.io.dumps({"f": np.add})
    with pytest.raises(ModelTypeError):
        local.load("traffic", local.put(manifest(), hostile).version)


def test_no_more_than_the_bound_is_read_or_written(folder: Path, local: Registry) -> None:
    stored(local, 1000)
    small = Registry(str(folder), "shop", bytes_max=100)
    with pytest.raises(ModelTooLargeError, match="100 bytes"):
        small.load("traffic", "latest")
    with pytest.raises(ModelTooLargeError, match="100 bytes"):
        small.put(manifest(), model(1001))
    assert len(small.versions("traffic")) == 1


def test_half_a_version_is_no_version_and_is_swept_away(local: Registry, folder: Path) -> None:
    first, second = stored(local, 1, 2)
    (folder / "shop" / "traffic" / first / "manifest.json").unlink()
    assert local.versions("traffic") == (second,)
    with pytest.raises(ModelMissingError):
        local.load("traffic", "1")
    third, _ = stored(local, 3, 4)
    assert local.prune("traffic", 1) == (second, third)
    assert not (folder / "shop" / "traffic" / first).exists()


def test_storages_that_fail_are_model_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelStorageError):
        Registry(str(tmp_path / "file"), "shop").put(manifest(), model(1))
    with pytest.raises(ModelStorageError, match="nosuch"):
        Registry("nosuch://bucket", "shop")
    with pytest.raises(ValueError, match="app"):
        Registry(str(tmp_path), "../shop")


def test_passwords_of_the_address_are_not_announced() -> None:
    registry = Registry("memory://ann:secret@host/models", "shop")
    assert registry.url == "memory://host/models"


def test_writers_at_once_lose_nothing(local: Registry, folder: Path) -> None:
    put: list[str] = []
    failed: list[BaseException] = []
    start = threading.Barrier(4)

    def write(writer: int) -> None:
        try:
            own = Registry(str(folder), "shop")
            start.wait()
            for number in range(8):
                version = own.put(manifest(), model(10 * number + writer % 2)).version
                put.append(version)
                own.appoint("traffic", "champion", version)
                assert own.load("traffic").manifest.version in put
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    versions = local.versions("traffic")
    assert set(versions) == set(put)
    # Each content by two writers, who may both have stored it before either saw the other.
    assert len({version[7:] for version in versions}) == 16
    for version in versions:
        local.load("traffic", version)
    assert local.pointer("traffic", "champion").version in versions
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_announcements_survive_their_bytes() -> None:
    said = Announcement("shop", "traffic", "champion", "000001-0123456789ab", "ff", "s3://models", 5)
    assert Announcement.from_bytes(said.to_bytes()) == said
    assert said.key == b"traffic/champion"
    for changed in (
        msgspec.structs.replace(said, version="../x"),
        msgspec.structs.replace(said, name="../x"),
    ):
        with pytest.raises(ManifestError):
            Announcement.from_bytes(changed.to_bytes())
    for data in (b"", b"\xff", b"[]", said.to_bytes().replace(b"champion", b"emperor")):
        with pytest.raises(ManifestError, match="announcement"):
            Announcement.from_bytes(data)


def test_a_pointer_forgets_what_is_long_ago() -> None:
    pointer = Pointer("champion")
    for number in range(300):
        pointer = pointer.appointed(f"{number:06d}-0123456789ab", at_ms=number)
    assert len(pointer.history) == 100
    assert decode(encode(pointer), Pointer, "pointer") == pointer


def test_settings_have_one_hash_whatever_their_order() -> None:
    assert config_hash("a", {"x": 1, "y": [2]}) == config_hash("a", {"y": [2], "x": 1})
    assert config_hash("a", {"x": 1}) != config_hash("b", {"x": 1})
    with pytest.raises(ValueError, match="must be text"):
        config_hash("a", {"x": object()})
