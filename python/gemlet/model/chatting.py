"""The side of `Model` that talks: docstrings, options and defaults. What they do is in the folder `chat`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..types import GenerateOptions, unknown_option
from .generating import Generating

# `chat` is imported when a model first chats: a start without a chat should not pay for it.
if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from typing import Literal, overload

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from .. import _core
    from ..chat.attachments import Given
    from ..chat.awaiting import AsyncChatStream
    from ..chat.format import ChatFormat, Prompt
    from ..chat.result import ChatResult
    from ..chat.stream import ChatStream
    from ..types import ChatArgs

    Messages = str | Sequence[Any]

MAX_TOKENS = 2048
_MEDIA = ("images", "audio", "video", "image_tokens", "fps")
_OWN = ("tools", "tool_choice", "think", "preserve_thinking", "stream", *_MEDIA)
# Kept from being drawn where nothing could follow: a call without tools, the end of a picture that was not begun. What
# the model's makers suppress the engine bans by itself; older files do not tell.
_NEVER = ("<image|>", "<audio|>")


class Chatting(Generating):
    """The methods of a model that talk."""

    def _turn(self, message: dict[str, Any], media: dict[str, Any]) -> dict[str, Any]:
        """A message for a session to keep: with soft tokens in place of the images and sounds in it and beside it."""
        from ..chat.attachments import Given, encoded, placed, slots
        from ..chat.messages import check_message

        checked = placed([check_message(message)], Given(**media))
        return encoded(checked[0], self._senses) if any(slots(checked)) else message

    def _talk(self, messages: list[dict[str, Any]], options: dict[str, Any], session: _core.Session) -> ChatStream:
        """One turn of a session; options as a caller of `chat` gives them."""
        given = dict(options)
        tools, choice = given.pop("tools", None), given.pop("tool_choice", "auto")
        think, preserve = given.pop("think", False), given.pop("preserve_thinking", False)
        media = _given((), None, None, None, None)
        return self._chat(messages, media, tools, choice, think, preserve, given, session)

    if TYPE_CHECKING:

        @overload
        def chat(
            self, messages: Messages, *, stream: Literal[False] = ..., **options: Unpack[ChatArgs]
        ) -> ChatResult: ...
        @overload
        def chat(self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatArgs]) -> ChatStream: ...

    def chat(
        self,
        messages: Messages,
        *,
        images: Any = (),
        audio: Any = None,
        video: Any = None,
        image_tokens: int | str | None = None,
        fps: float | None = None,
        tools: Any = None,
        tool_choice: Any = "auto",
        think: bool = False,
        preserve_thinking: bool = False,
        stream: bool = False,
        **options: Any,
    ) -> ChatResult | ChatStream:
        """Answer a conversation: a string, or messages as OpenAI has them ({"role": ..., "content": ...}).

        The model file's own template writes the prompt. Text in messages never becomes a control token.

        tools: OpenAI's dicts, Python functions or pydantic classes; what the model wants called is in `.tool_calls`.
        tool_choice: "auto", "required", the name of one that must be called, or "none" (as if there were no tools;
        then no call can be drawn).
        think: let the model think first (Gemma 4); `.thinking` is what it thought.
        preserve_thinking: keep the thoughts of earlier turns that called tools.
        stream: give an iterator of chunks back; each has `.kind`, "text", "thinking" or "tool_call".
        images: a list of images (paths, bytes, PIL images, uint8 arrays, data URLs, or `gemlet.Image`), audio and video
        one or a list of them; they stand before the text of the last user message, or where its parts without a source
        are. Parts of messages as OpenAI has them take data URLs only; {"type": "image", "image": path} is a file.
        image_tokens: tokens an image may take (280); more show smaller print. fps: frames a second of a video. What was
        made of each is told in `.warnings`.
        options: those of `generate`, but max_tokens is 2048, stop strings are looked for in the text alone, and
        overflow="truncate" leaves out whole turns, the oldest first. A constraint (schema, regex, grammar, choices)
        holds for what comes after the thought, gives `.parsed`, and excludes calls.

        >>> m.chat("Hello", max_tokens=4, temperature=0).usage.completion_tokens
        4
        >>> with m.chat([{"role": "user", "content": "Hello"}], max_tokens=4, stream=True) as chunks:
        ...     {chunk.kind for chunk in chunks}
        {'text'}
        """
        given = _given(images, audio, video, image_tokens, fps)
        running = self._chat(messages, given, tools, tool_choice, think, preserve_thinking, options)
        return running if stream else running.result

    if TYPE_CHECKING:

        @overload
        def achat(
            self, messages: Messages, *, stream: Literal[False] = ..., **options: Unpack[ChatArgs]
        ) -> Awaitable[ChatResult]: ...
        @overload
        def achat(
            self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatArgs]
        ) -> AsyncChatStream: ...

    def achat(
        self,
        messages: Messages,
        *,
        images: Any = (),
        audio: Any = None,
        video: Any = None,
        image_tokens: int | str | None = None,
        fps: float | None = None,
        tools: Any = None,
        tool_choice: Any = "auto",
        think: bool = False,
        preserve_thinking: bool = False,
        stream: bool = False,
        **options: Any,
    ) -> Awaitable[ChatResult] | AsyncChatStream:
        """`chat` for asyncio: await it, or with stream=True use it in `async for` or `async with`.

        The event loop is never blocked, and cancelling the task stops the generation.

        >>> import asyncio
        >>> async def both():
        ...     return await asyncio.gather(m.achat("Hi", max_tokens=2), m.achat("Hello", max_tokens=3))
        >>> [answer.usage.completion_tokens for answer in asyncio.run(both())]
        [2, 3]
        """
        given = _given(images, audio, video, image_tokens, fps)

        def start() -> ChatStream:
            return self._chat(messages, given, tools, tool_choice, think, preserve_thinking, options)

        from ..chat.awaiting import AsyncChatStream, whole

        return AsyncChatStream(start) if stream else whole(start)

    def apply_chat_template(
        self,
        messages: Messages,
        *,
        images: Any = (),
        audio: Any = None,
        video: Any = None,
        image_tokens: int | str | None = None,
        fps: float | None = None,
        tools: Any = None,
        think: bool = False,
        preserve_thinking: bool = False,
        add_generation_prompt: bool = True,
        tokenize: bool = True,
    ) -> NDArray[np.int32] | str:
        """The prompt of a conversation, as `chat` would give it to the model: ids (T,) int32, or a string.

        Use ids for `generate`; in the string, control tokens look the same as text that only looks like them. Where an
        image or sound stands, the ids are placeholders, which mean nothing without it.

        >>> m.apply_chat_template("Hi", tokenize=False)
        '<bos><start_of_turn>user\\nHi<end_of_turn>\\n<start_of_turn>model\\n'
        """
        given = _given(images, audio, video, image_tokens, fps)
        prompt = self._prompt_of(messages, given, tools, think, preserve_thinking, add_generation_prompt, sized=True)
        return prompt.ids if tokenize else prompt.text

    def count_tokens(
        self,
        messages: Messages,
        *,
        images: Any = (),
        audio: Any = None,
        video: Any = None,
        image_tokens: int | str | None = None,
        fps: float | None = None,
        tools: Any = None,
        think: bool = False,
        preserve_thinking: bool = False,
    ) -> int:
        """How many tokens the prompt of a conversation has. Images, sound and video are measured, not encoded.

        >>> m.count_tokens("Hi")
        10
        """
        given = _given(images, audio, video, image_tokens, fps)
        return len(self._prompt_of(messages, given, tools, think, preserve_thinking, True, sized=True).ids)

    def _chat_format(self) -> ChatFormat:
        from ..chat.format import ChatFormat

        if self._format is None:  # two threads may both make it; either will do
            architecture = str(self._info["architecture"])
            self._format = ChatFormat(self._path, self._engine.tokenizer, architecture, self._senses)
        return self._format

    def _prompt_of(
        self,
        messages: Messages,
        given: Given,
        tools: Any,
        think: bool,
        preserve_thinking: bool,
        add_generation_prompt: bool,
        sized: bool = False,
    ) -> Prompt:
        return self._chat_format().render(
            messages,
            media=given,
            tools=tools,
            think=think,
            preserve_thinking=preserve_thinking,
            add_generation_prompt=add_generation_prompt,
            sized=sized,
        )

    def _chat(
        self,
        messages: Messages,
        media: Given,
        tools: Any,
        tool_choice: Any,
        think: bool,
        preserve_thinking: bool,
        given: dict[str, Any],
        session: _core.Session | None = None,
    ) -> ChatStream:
        from ..chat.parser import AnswerParser
        from ..chat.stream import ChatStream
        from ..chat.tools import check_tool_choice, check_tools

        known = GenerateOptions.__dataclass_fields__
        unknown = [name for name in given if name not in known]
        if unknown:
            raise unknown_option("chat", unknown, (*known, *_OWN))
        options = GenerateOptions(**{"max_tokens": MAX_TOKENS, **given})
        declared = check_tools(tools)
        may_call, call = check_tool_choice(tool_choice, declared, think=think)
        chat_format, tokenizer = self._chat_format(), self._engine.tokenizer
        prompt = self._fitted(
            messages,
            options,
            media=media,
            tools=declared if may_call else None,
            think=think,
            preserve_thinking=preserve_thinking,
        )
        tokens = chat_format.tokens
        never = [*map(tokenizer.find, _NEVER), *([] if may_call else [tokens.opens_call])]
        if options.constrained:
            if may_call:
                raise ValueError(
                    "chat: an answer under schema, regex, grammar or choices cannot be a call as well; "
                    "pass tool_choice='none', or leave the constraint out while tools may be called"
                )
            if think and not prompt.in_thinking:
                prompt = chat_format.with_open_thought(prompt)
            never = [i for i in tokens.hidden if i not in tokens.ends and i != tokens.closes_channel]
        if call:
            prompt = chat_format.with_open_call(prompt, call)
        bans = dict.fromkeys((i for i in never if i >= 0), float("-inf"))
        options.logit_bias = {**bans, **(options.logit_bias or {})}
        stop, options.stop = tuple(options.stop), ()
        size = tokenizer.vocab_size
        parser = AnswerParser(
            tokens._replace(ends=frozenset()) if options.ignore_eos else tokens,
            lambda token: tokenizer.piece(token) if token < size else b"",
            thinking=prompt.in_thinking,
            call=call,
            tools=[tool["function"]["name"] for tool in declared] if may_call else None,
        )
        after = tokens.closes_channel if prompt.in_thinking else None
        return ChatStream(self._begin(prompt.core, options, [], after, session), parser, stop, prompt.warnings)

    def _fitted(self, messages: Messages, options: GenerateOptions, **given: Any) -> Prompt:
        chat_format = self._chat_format()
        if options.overflow != "truncate":
            return chat_format.render(messages, **given)
        context = int(self._info["context"])
        return chat_format.render_recent(messages, context - min(options.max_tokens or context, context // 2), **given)


def _given(images: Any, audio: Any, video: Any, image_tokens: int | str | None, fps: float | None) -> Given:
    from ..chat.attachments import Given

    return Given(images, audio, video, image_tokens, fps)
