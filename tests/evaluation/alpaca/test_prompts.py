import hashlib

from prefboost.evaluation.alpaca.prompts import SYSTEM, USER

# tatsu-lab/alpaca_eval at cd543a149df89434d8a54582c0151c0b945c3d20:
# src/alpaca_eval/evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt
PUBLISHED = "784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62"


def test_the_published_file_comes_out_of_our_words_to_the_byte():
    user = USER % ("{instruction}", "{output_1}", "{output_2}")
    turns = (("system", SYSTEM), ("user", user))
    file = "\n".join(f"<|im_start|>{role}\n{content}\n<|im_end|>" for role, content in turns)
    assert hashlib.sha256(file.encode()).hexdigest() == PUBLISHED
