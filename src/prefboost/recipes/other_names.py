"""Names of settings in other trainers, with what to write here: hints for those who come from there.

Names of TRL, transformers and peft are all answered; of LLaMA-Factory, Axolotl and ms-swift those that recipes use.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["OTHER_NAMES", "UNOFFERED_NAMES", "suggest_own_name"]

_WITH_LIKELIHOOD = "e.g. loss={kind: sum, terms: [{loss: {kind: dpo}}, {loss: {kind: sft}, weight: 0.2}]}"

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
    "auto_find_batch_size": ("micro_batch", "or token_budget; batch_size stays what it is"),
    "lr": ("learning_rate", ""),
    "lr_scheduler_type": ("schedule", "cosine, linear, constant or constant_with_warmup"),
    "warmup_steps": ("warmup_ratio", "a share of the steps"),
    "optim": ("optimizer", ""),
    "bf16": ("precision", "bf16, or pure_bf16 for weights in bf16 too"),
    "fp16": ("precision", "bf16 or fp32; there is no fp16"),
    "bf16_full_eval": ("precision", "evaluation computes as training does"),
    "fp16_full_eval": ("precision", "evaluation computes as training does"),
    "dtype": ("precision", "and save_type for the saved weights"),
    "torch_dtype": ("precision", "and save_type for the saved weights"),
    "attn_implementation": ("attention", ""),
    "flash_attention": ("attention", "attention=flash_attention_2"),
    "flash_attn": ("attention", "attention=flash_attention_2"),
    "gradient_clipping": ("max_grad_norm", ""),
    "activation_checkpointing": ("gradient_checkpointing", ""),
    "use_liger_kernel": ("liger_kernel", ""),
    "eval_steps": ("eval_every", ""),
    "val_size": ("eval_fraction", ""),
    "val_set_size": ("eval_fraction", ""),
    "eval_strategy": ("eval_every", "a number of steps; eval_fraction says what is held out"),
    "save_steps": ("save_every", ""),
    "save_strategy": ("save_every", "a number of steps"),
    "save_total_limit": ("keep_checkpoints", ""),
    "logging_steps": ("log_every", ""),
    "data_seed": ("seed", ""),
    "loss_type": ("loss", "e.g. loss=ipo, or loss.beta=0.1 for a setting of it"),
    "loss_weights": ("loss", _WITH_LIKELIHOOD),
    "beta": ("loss.beta", ""),
    "pref_beta": ("loss.beta", ""),
    "rl_beta": ("loss.beta", ""),
    "pref_loss": ("loss", "e.g. loss=ipo"),
    "pref_ftx": ("loss", _WITH_LIKELIHOOD),
    "rpo_alpha": ("loss", _WITH_LIKELIHOOD),
    "label_smoothing": ("loss.label_smoothing", ""),
    "label_smoothing_factor": ("loss.label_smoothing", ""),
    "discopop_tau": ("loss.tau", "loss.kind=discopop"),
    "simpo_gamma": ("loss.gamma_beta_ratio", "loss.kind=simpo; gamma / beta"),
    "router_aux_loss_coef": ("router_balance", ""),
    "ref_model": ("reference", ""),
    "precompute_ref_log_probs": (
        "reference_cache",
        "log-probs of the reference are always computed once and kept",
    ),
    "precompute_ref_batch_size": ("micro_batch", "it is that of training"),
    "max_seq_length": ("max_length", ""),
    "cutoff_len": ("max_length", ""),
    "sequence_len": ("max_length", ""),
    "truncation_mode": (
        "max_prompt_length",
        "prompts lose their beginning, but not the goal; completions their end",
    ),
    "base_model": ("model", ""),
    "micro_batch_size": ("micro_batch", ""),
    "template": ("chat_template", "none: the tokenizer's own"),
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
    "load_in_4bit": ("lora.quantize", "lora.quantize=nf4 with lora.merge=false"),
    "load_in_8bit": ("lora.quantize", "nf4, 4 bits; there is no 8 bit"),
    "quantization_bit": ("lora.quantize", "lora.quantize=nf4 with lora.merge=false"),
    "deepspeed": ("", "start it as accelerate launch --use_deepspeed (docs/howto/several-devices.md)"),
    "fsdp": ("", "start it as accelerate launch --use_fsdp (docs/howto/several-devices.md)"),
    "fsdp_config": ("", "start it as accelerate launch --use_fsdp (docs/howto/several-devices.md)"),
    "output_dir": ("", "the folder is RUNS/NAME: name=NAME and --runs-dir RUNS"),
    "run_name": ("", "the run is named by the recipe: name=NAME"),
    "dataset_name": ("", "data={kind: file, path: ORGANISATION/NAME}"),
    "disable_dropout": ("", "dropout of the model is always off, since preference losses compare exact log-probs"),
    "remove_unused_columns": ("", "columns that the training does not read are ignored"),
    "dataset_num_proc": ("", "rows are tokenised in batches by one process, once"),
    "resume_from_checkpoint": ("", "the same command again resumes"),
    "push_to_hub": ("", "prefboost push RUN OWNER/NAME uploads a trained model"),
    "hub_model_id": ("", "prefboost push RUN OWNER/NAME uploads a trained model"),
}
"""Name elsewhere -> the setting of a training here (empty: there is none), and a remark on what to write."""

_UNOFFERED = """
accelerator_config activation_checkpointing_kwargs activation_offloading adam_beta1 adam_beta2 adam_epsilon
alora_invocation_tokens alpha_pattern arrow_config auto_mapping average_tokens_across_devices
base_model_name_or_path batch_eval_metrics bias corda_config dataloader_drop_last dataloader_in_order
dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory
dataloader_prefetch_factor ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters
ddp_static_graph ddp_timeout debug disable_tqdm do_eval do_predict do_train enable_jit_checkpoint
ensure_weight_tying eva_config eval_accumulation_steps eval_delay eval_do_concat_batches eval_on_start
eval_use_gather_object exclude_modules f_alpha_divergence_coef f_divergence_type fan_in_fan_out full_determinism
gradient_checkpointing_kwargs greater_is_better hub_always_push hub_private_repo hub_revision hub_strategy
hub_token ignore_data_skip include_for_metrics include_num_input_tokens_seen inference_mode init_lora_weights
kasa_config label_names layer_replication layers_pattern layers_to_transform ld_alpha length_column_name
liger_kernel_config load_best_model_at_end local_rank loftq_config log_level log_level_replica log_on_each_node
logging_first_step logging_nan_inf_filter logging_strategy lora_bias lora_ga_config lr_scheduler_kwargs
megatron_config megatron_core metric_for_best_model model_init_kwargs modules_to_save monteclora_config
neftune_noise_alpha optim_args optim_target_modules pad_to_multiple_of pad_token parallelism_config peft_type
peft_version prediction_loss_only project qalora_group_size rank_pattern ref_model_mixup_alpha
ref_model_sync_steps restore_callback_states_from_checkpoint runtime_config save_on_each_node save_only_model
skip_memory_metrics sync_ref_model target_parameters task_type tf32 torch_compile_backend torch_compile_mode
torch_empty_cache_steps trackio_bucket_id trackio_space_id trackio_static_space_id train_sampling_strategy
trainable_token_indices use_bdlora use_cache use_cpu use_dora use_qalora use_rslora use_weighting velora_config
"""

UNOFFERED_NAMES = frozenset(_UNOFFERED.split())
"""Settings of TRL, transformers and peft without a counterpart here."""


def suggest_own_name(path: Sequence[str | int], names: Collection[str]) -> str | None:
    """Suggest what to write for a name of another trainer; None for others, and where no training is set.

    Args:
        path: of the unknown setting; its last part is the name.
        names: settings that there are at its place.
    """
    if path[-1] in UNOFFERED_NAMES:
        return "TRL, transformers or peft have it, and it has no counterpart here: leave it out"
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
