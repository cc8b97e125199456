"""A tiny random Llama as a GGUF file, with bytes as tokens and any chat template."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|pad|>")


def tiny_gguf(path: Path, chat_template: str, context: int = 512) -> Path:
    """Write the file.

    Args:
        path: ends in .gguf.
        chat_template: Jinja text.
        context: most tokens.
    """
    import gguf
    from tokenizers import pre_tokenizers

    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ", *SPECIAL]
    width, inner, heads, layers = 32, 64, 4, 2
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(letters))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(letters)
    kinds = [gguf.TokenType.NORMAL] * (len(letters) - len(SPECIAL)) + [gguf.TokenType.CONTROL] * len(SPECIAL)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(letters.index("<|im_start|>"))
    writer.add_eos_token_id(letters.index("<|im_end|>"))
    writer.add_pad_token_id(letters.index("<|pad|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template)
    draw = np.random.default_rng(0)
    for name, shape in _shapes(len(letters), width, inner, layers).items():
        values = np.ones(shape) if "norm" in name else draw.normal(0, 0.2, shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(words: int, width: int, inner: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (words, width),
        "output_norm": (width,),
        "output": (words, width),
    }
    for at in range(layers):
        own = {"attn_norm": (width,), "ffn_norm": (width,), "ffn_gate": (inner, width), "ffn_up": (inner, width)}
        own |= {
            "ffn_down": (width, inner),
            **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (width, width)),
        }
        shapes |= {f"blk.{at}.{name}": shape for name, shape in own.items()}
    return shapes
