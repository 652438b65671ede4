"""Names of settings and options that people bring along from other clients, and what they are called here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ._text import shown
from .errors import ConfigurationError

__all__ = ["SENT_AS_THEY_ARE", "check_names"]

_ENDPOINT: Final = "endpoint (an id or projects/P/locations/R/endpoints/ID)"
SENT_AS_THEY_ARE: Final = (
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"),
    *("logprobs", "top_logprobs", "top_k", "min_p", "n", "stream_options"),
)
"""Options of a request that go into its body without a look at them."""
_HABITS: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict"), "max_tokens"
    ),
    **dict.fromkeys(("max_tokens_to_sample", "maxOutputTokens", "num_output"), "max_tokens"),
    **dict.fromkeys(("model_kwargs", "generation_kwargs", "body", "extra_kwargs"), "extra_body"),
    **dict.fromkeys(
        ("request_timeout", "default_request_timeout", "timeout_seconds", "read_timeout"), "timeout"
    ),
    **dict.fromkeys(("stop_sequences", "stopSequences", "stop_words", "stop_token"), "stop"),
    **dict.fromkeys(("openai_api_base", "api_base", "anthropic_api_url", "base", "url", "host"), "base_url"),
    **dict.fromkeys(("api_endpoint", "azure_endpoint", "server_url", "inference_server_url"), "base_url"),
    **dict.fromkeys(("project_id", "vertex_project", "gcp_project", "vertexai_project"), "project"),
    **dict.fromkeys(("region", "vertex_location", "location_id", "zone", "vertexai_location"), "location"),
    **dict.fromkeys(("endpoint_id", "endpoint_name", "vertex_endpoint", "deployment_id"), _ENDPOINT),
    **dict.fromkeys(("dedicated_endpoint", "endpoint_dns", "dedicated_dns"), "endpoint_host"),
    **dict.fromkeys(
        ("openai_api_key", "google_api_key", "token", "auth_token", "bearer_token"), "access_token"
    ),
    **dict.fromkeys(("api_key", "moonshot_api_key", "anthropic_api_key"), "access_token"),
    **dict.fromkeys(("credentials_path", "service_account_file", "vertex_credentials"), "credentials"),
    **dict.fromkeys(("service_account_info", "service_account", "service_account_key_path"), "credentials"),
    **dict.fromkeys(("default_headers", "additional_headers", "headers", "custom_headers"), "extra_headers"),
    **dict.fromkeys(("model_name", "model_id", "deployment_name", "model_version"), "model"),
    **dict.fromkeys(("retries", "num_retries", "retry", "max_attempts"), "max_retries"),
    **dict.fromkeys(("client", "httpx_client", "sync_client"), "http_client"),
    **dict.fromkeys(
        ("async_client", "async_http_client", "async_httpx_client", "http_aclient"), "http_async_client"
    ),
    **dict.fromkeys(("thinking_callback", "reasoning_callback", "on_reasoning"), "on_thinking"),
    **dict.fromkeys(("on_call", "on_stats"), "on_request"),
    **dict.fromkeys(
        ("verify", "verify_ssl", "ca_file", "ca_bundle", "ssl_ca_cert", "cafile", "ssl_verify"), "ca_certs"
    ),
    **dict.fromkeys(("random_seed",), "seed"),
    **dict.fromkeys(("topP", "p"), "top_p"),
    **dict.fromkeys(
        ("enable_thinking", "think", "thinking_enabled", "thinking"), 'reasoning_effort ("none" turns it off)'
    ),
    **dict.fromkeys(("disable_thinking", "no_thinking"), 'reasoning_effort="none"'),
    "chat_template_kwargs": 'extra_body={"chat_template_kwargs": ...}',
    "parallel_tool_calls": 'extra_body={"parallel_tool_calls": ...}',
    **dict.fromkeys(("reasoning", "thinking_budget", "budget_tokens", "thinking_level"), "reasoning_effort"),
    **dict.fromkeys(("functions",), "tools"),
    **dict.fromkeys(("function_call",), "tool_choice"),
    **dict.fromkeys(("response_schema", "response_mime_type", "json_mode"), "response_format"),
    **{name: f'extra_body={{"{name}": ...}}' for name in SENT_AS_THEY_ARE},
}
"""What a name means here: a setting, or an expression. Those that the class does not have are not proposed."""
_NEEDLESS: Final[dict[str, str]] = {
    "stream_usage": "leave it out: the usage is always asked for",
    "use_responses_api": "leave it out: Kimi's servers have chat completions",
    "is_chat_model": "leave it out: it always is one",
    "is_function_calling_model": "leave it out: it always is one",
    "reuse_client": "leave it out: connections are always shared",
    "stream_options": "leave it out: the usage is always asked for",
    "streaming": "use the methods that stream",
    "stream": "use the methods that stream",
    "n": "one answer is asked for; ask several times, or pass extra_body",
    "best_of": "one answer is asked for; ask several times, or pass extra_body",
    "num_return_sequences": "one answer is asked for; ask several times, or pass extra_body",
    "organization": "leave it out: Google has projects instead",
    "openai_organization": "leave it out: Google has projects instead",
    "api_version": "leave it out: it is found out",
    "api_transport": "leave it out: requests go over HTTP",
    "safety_settings": "Kimi has none; other fields of the body go into extra_body",
    "proxies": "set HTTPS_PROXY, or pass an http_client of your own",
    "proxy": "set HTTPS_PROXY, or pass an http_client of your own",
    "openai_proxy": "set HTTPS_PROXY, or pass an http_client of your own",
    "quota_project": "set GOOGLE_CLOUD_QUOTA_PROJECT, or use credentials.with_quota_project",
    "quota_project_id": "set GOOGLE_CLOUD_QUOTA_PROJECT, or use credentials.with_quota_project",
    "user": 'pass extra_body={"user": ...}',
    "system": "pass a system message",
    "system_instruction": "pass a system message",
    "system_prompt": "pass a system message",
}


def check_names(names: Iterable[str], known: Iterable[str], *, owner: str, what: str = "setting") -> None:
    """Refuse names that a class does not have, and say what is meant.

    Args:
        names: What the caller gave.
        known: What there is.
        owner: The class or method, for the text.
        what: `setting` or `option`, for the text.

    Raises:
        ConfigurationError: One of the names is unknown. The text says what it is called here, if that can be told.
    """
    there = sorted(known)
    for name in names:
        if name not in there:
            raise ConfigurationError(f"{owner} has no {what} {shown(name)}{_meant(name, there)}")


def _meant(name: str, there: list[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    if name in _NEEDLESS:
        return f": {_NEEDLESS[name]}."
    habit = _HABITS.get(name, "")
    setting = habit.partition("=")[0].partition(" ")[0]
    if setting in there:
        return f": use {habit}."
    if setting:
        return f": set {habit} when the client is made."
    near = get_close_matches(name.lower(), there, 1, 0.75)
    if near:
        return f". Did you mean {near[0]!r}? Fields of the request's body go into extra_body."
    return f". Fields of the request's body go into extra_body. Known are {', '.join(there)}."
