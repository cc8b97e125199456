"""Uploads to the Hugging Face hub: data sets and models, each with its card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefboost.errors import Place, RunError, SettingsError, require_extra
from prefboost.sources.readers.hub import is_hub_id

__all__ = ["find_licence", "refuse_repository", "upload"]


def refuse_repository(name: str, kind: str = "dataset") -> None:
    """Refuse what is no name of a repository on the hub, before anything is computed for it.

    Args:
        name: of the repository.
        kind: dataset or model.

    Raises:
        SettingsError: it is not ``owner/name``.
    """
    if not is_hub_id(name):
        thing, example = ("data set", "goal-pairs") if kind == "dataset" else (kind, "my-model")
        raise SettingsError(f"{name!r} is not a {thing} of the hub", remedy=f"write OWNER/NAME, e.g. me/{example}")


def upload(
    folder: Path,
    repository: str,
    kind: str,
    *,
    private: bool = True,
    card: str | None = None,
    names: Sequence[str] | None = None,
) -> str:
    """Upload files of a folder to a repository of the hub, which is made where it does not exist.

    Args:
        folder: what is uploaded.
        repository: ``owner/name``.
        kind: dataset or model.
        private: who may see a repository that does not exist yet.
        card: text of its README.md; None: the folder has one.
        names: of the files; None: all of them.

    Returns:
        Its address.

    Raises:
        MissingExtra: the hub's library is not installed.
        RunError: the hub refuses it, or cannot be reached.
    """
    with require_extra("huggingface_hub", "hub"):
        from huggingface_hub import HfApi
    api = HfApi()
    options = {} if names is None else {"allow_patterns": list(names)}
    if card is not None:
        options["ignore_patterns"] = ["README.md"]
    try:
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repository, repo_type=kind, **options)
        if card is not None:
            # The card comes last: it speaks of files that are there.
            api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repository, repo_type=kind)
    except Exception as error:  # the hub client raises many kinds: no network, no login, no right to write, bad name
        raise RunError(
            f"the hub refused it as {repository}: {' '.join(str(error).split())[:300] or type(error).__name__}",
            remedy="log in (hf auth login) and check name and network; the files are written, and the same command "
            "again uploads them",
            place=Place(str(folder)),
        ) from error
    return f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}"


def find_licence(model: str) -> str | None:
    """Ask the hub for the licence of a model; None where it states none, or cannot be reached."""
    from huggingface_hub import HfApi

    try:
        licence = getattr(HfApi().model_info(model).card_data, "license", None)
    except Exception:  # offline, gated, renamed: the user is asked then
        return None
    return str(licence) if licence else None
