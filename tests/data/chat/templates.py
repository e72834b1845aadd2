"""Chat templates that behave as those of well-known models do, written for these tests."""

TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
OPEN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

# A default system turn where there is none.
QWEN25 = (
    "{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\nYou are Q. Help the user.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}" + TURN + "{% endfor %}" + OPEN
)

# The thoughts of replies before the last question go; the last reply shows a block in any case.
QWEN3 = (
    "{%- set last = namespace(question=0) -%}"
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set last.question = loop.index0 -%}"
    "{%- endif -%}{%- endfor -%}"
    "{%- for m in messages -%}{%- if m.role == 'assistant' -%}"
    "{%- set thought, text = '', m.content -%}{%- if '</think>' in m.content -%}"
    "{%- set thought = m.content.split('</think>')[0].rstrip('\n').split('<think>')[-1]"
    ".lstrip('\n') -%}"
    "{%- set text = m.content.split('</think>')[-1].lstrip('\n') -%}{%- endif -%}"
    "{{- '<|im_start|>assistant\n' -}}"
    "{%- if loop.index0 > last.question and (loop.last or thought) -%}"
    "{{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + text.lstrip('\n') -}}"
    "{%- else -%}{{- text -}}{%- endif -%}{{- '<|im_end|>\n' -}}"
    "{%- else -%}" + TURN.replace("{{", "{{-").replace("}}", "-}}") + "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}{%- endif -%}"
)

# Always a system turn, with a date; texts are trimmed.
LLAMA3 = (
    "{{- bos_token -}}{%- set own = '' -%}{%- set turns = messages -%}"
    "{%- if messages[0].role == 'system' -%}{%- set own = messages[0].content | trim -%}"
    "{%- set turns = messages[1:] -%}{%- endif -%}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\nKnowledge until: May 2023\nToday: ' -}}"
    "{{- strftime_now('%d %b %Y') + '\n\n' + own + '<|eot_id|>' -}}"
    "{%- for m in turns -%}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' -}}"
    "{{- m.content | trim + '<|eot_id|>' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}"
)

# Roles alternate; the system's text stands in the last user's turn, and only where that is the
# very last one.
MISTRAL = (
    "{%- set turns = messages -%}{%- if messages[0].role == 'system' -%}"
    "{%- set own = messages[0].content -%}{%- set turns = messages[1:] -%}{%- endif -%}"
    "{{- bos_token -}}{%- for m in turns -%}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('roles must alternate, the user first') -}}{%- endif -%}"
    "{%- if m.role == 'user' -%}{{- '[INST] ' -}}"
    "{%- if loop.last and own is defined -%}{{- own + '\n\n' -}}{%- endif -%}"
    "{{- m.content + '[/INST]' -}}"
    "{%- else -%}{{- ' ' + m.content | trim + eos_token -}}{%- endif -%}{%- endfor -%}"
)

# The system's text opens the first user's turn; roles alternate; texts are trimmed.
GEMMA3 = (
    "{{- bos_token -}}{%- set own, turns = '', messages -%}"
    "{%- if messages[0].role == 'system' -%}{%- set own = messages[0].content + '\n\n' -%}"
    "{%- set turns = messages[1:] -%}{%- endif -%}"
    "{%- for m in turns -%}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('roles must alternate user/assistant') -}}{%- endif -%}"
    "{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' -}}"
    "{{- (own if loop.first else '') + m.content | trim + '<end_of_turn>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\n' -}}{%- endif -%}"
)

# The first Gemma: no system turn at all.
GEMMA = (
    "{%- if messages[0].role == 'system' -%}"
    "{{- raise_exception('System role not supported') -}}{%- endif -%}" + GEMMA3
)

# A header with date and mode, which words in the system's text switch.
SMOLLM3 = (
    "{%- set mode = '/think' if enable_thinking | default(true) else '/no_think' -%}"
    "{%- set own, turns = '', messages -%}"
    "{%- if messages[0].role == 'system' -%}{%- set own = messages[0].content -%}"
    "{%- set turns = messages[1:] -%}"
    "{%- if '/no_think' in own -%}{%- set mode = '/no_think' -%}"
    "{%- elif '/think' in own -%}{%- set mode = '/think' -%}{%- endif -%}"
    "{%- set own = own.replace('/no_think', '').replace('/think', '').rstrip() -%}{%- endif -%}"
    "{{- '<|im_start|>system\nToday: ' + strftime_now('%d %B %Y') + '\nMode: ' + mode -}}"
    "{{- '\n\n' + (own or 'You are S.') + '\n\n<|im_end|>\n' -}}"
    "{%- set block = '' if mode == '/think' else '<think>\n\n</think>\n' -%}"
    "{%- for m in turns -%}{{- '<|im_start|>' + m.role + '\n' -}}"
    "{%- if m.role == 'assistant' -%}{{- block + m.content.lstrip('\n') -}}"
    "{%- else -%}{{- m.content -}}{%- endif -%}{{- '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' + block -}}{%- endif -%}"
)

# Wants a system turn.
STRICT = (
    "{%- if messages[0].role != 'system' -%}"
    "{{- raise_exception('Conversation must begin with a system turn') -}}{%- endif -%}"
    "{% for m in messages %}" + TURN + "{% endfor %}" + OPEN
)

KNOWN = {
    "qwen2.5": QWEN25,
    "qwen3": QWEN3,
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "gemma3": GEMMA3,
    "smollm3": SMOLLM3,
}
