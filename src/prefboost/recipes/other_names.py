"""Names of settings in TRL, transformers and peft, with what to write here: hints for those who come from there."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["OTHER_NAMES", "suggest_own_name"]

OTHER_NAMES: dict[str, tuple[str, str]] = {
    "model_name_or_path": ("model", ""),
    "num_train_epochs": ("epochs", ""),
    "num_epochs": ("epochs", ""),
    "per_device_train_batch_size": (
        "batch_size",
        "goal pairs per optimiser step over all devices, accumulation included; micro_batch is what a device holds",
    ),
    "per_device_eval_batch_size": ("micro_batch", "it is that of training"),
    "gradient_accumulation_steps": (
        "batch_size",
        "the whole batch; micro-batches are accumulated until it is reached",
    ),
    "train_batch_size": ("batch_size", ""),
    "lr": ("learning_rate", ""),
    "lr_scheduler_type": ("schedule", "cosine, linear, constant or constant_with_warmup"),
    "warmup_steps": ("warmup_ratio", "a share of the steps"),
    "optim": ("optimizer", ""),
    "bf16": ("precision", "bf16, or pure_bf16 for weights in bf16 too"),
    "fp16": ("precision", "bf16 or fp32; there is no fp16"),
    "dtype": ("precision", "and save_type for the saved weights"),
    "torch_dtype": ("precision", "and save_type for the saved weights"),
    "attn_implementation": ("attention", ""),
    "eval_steps": ("eval_every", ""),
    "eval_strategy": ("eval_every", "a number of steps; eval_fraction says what is held out"),
    "save_steps": ("save_every", ""),
    "save_strategy": ("save_every", "a number of steps"),
    "save_total_limit": ("keep_checkpoints", ""),
    "logging_steps": ("log_every", ""),
    "data_seed": ("seed", ""),
    "loss_type": ("loss", "e.g. loss=ipo, or loss.beta=0.1 for a setting of it"),
    "beta": ("loss.beta", ""),
    "label_smoothing": ("loss.label_smoothing", ""),
    "ref_model": ("reference", ""),
    "precompute_ref_log_probs": (
        "reference_cache",
        "log-probs of the reference are always computed once and kept",
    ),
    "max_seq_length": ("max_length", ""),
    "max_completion_length": ("max_length", "tokens of prompt and completion"),
    "packing": ("engine", "engine=packed is the default"),
    "padding_free": ("engine", "engine=packed is the default"),
    "use_peft": ("lora", "lora={} for its defaults"),
    "peft_config": ("lora", "lora={} for its defaults"),
    "r": ("lora.rank", ""),
    "lora_r": ("lora.rank", ""),
    "lora_rank": ("lora.rank", ""),
    "lora_alpha": ("lora.alpha", ""),
    "lora_dropout": ("lora.dropout", ""),
    "target_modules": ("lora.targets", ""),
    "lora_target_modules": ("lora.targets", ""),
    "deepspeed": ("", "start it as accelerate launch --use_deepspeed (docs/howto/several-devices.md)"),
    "fsdp": ("", "start it as accelerate launch --use_fsdp (docs/howto/several-devices.md)"),
    "fsdp_config": ("", "start it as accelerate launch --use_fsdp (docs/howto/several-devices.md)"),
    "output_dir": ("", "the folder is RUNS/NAME: name=NAME and --runs-dir RUNS"),
    "run_name": ("", "the run is named by the recipe: name=NAME"),
    "dataset_name": ("", "data={kind: file, path: ORGANISATION/NAME}"),
    "resume_from_checkpoint": ("", "the same command again resumes"),
    "push_to_hub": ("", "prefboost push RUN OWNER/NAME uploads a trained model"),
    "hub_model_id": ("", "prefboost push RUN OWNER/NAME uploads a trained model"),
}
"""Name elsewhere -> the setting of a training here (empty: there is none), and a remark on what to write."""


def suggest_own_name(path: Sequence[str | int], names: Collection[str]) -> str | None:
    """Suggest what to write for a name of TRL, transformers or peft; None for others, and where no training is set.

    Args:
        path: of the unknown setting; its last part is the name.
        names: settings that there are at its place.
    """
    if path[-1] not in OTHER_NAMES:
        return None
    setting, remark = OTHER_NAMES[str(path[-1])]
    if not setting:
        return remark
    above = [str(step) for step in path[:-1]]
    # `r` under `lora` means `lora.rank`; a name at the top of a recipe is one of its training.
    if above and setting.startswith(f"{above[-1]}."):
        above = above[:-1]
    elif setting.partition(".")[0] not in names:
        if "train" not in names:
            return None
        above = [*above, "train"]
    if [*above, *setting.split(".")] == [str(step) for step in path]:
        return None  # the name is ours, and this loss has no such setting
    return f"here it is {setting}: write {'.'.join([*above, setting])}=..." + (f" ({remark})" if remark else "")
