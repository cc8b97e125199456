"""`select`: the best completions of each prompt, to one file or to an output folder, also by shards."""
