"""Secrets in the odd places where a real program leaves them. Tests prove that none arrives anywhere."""

from __future__ import annotations

URL_TOKEN = "tok_planted_4f1c9a7be2"
"""In the query string of every link in a site's sitemap."""

MESSAGE_API_KEY = "sk-or-v1-planted0123456789abcdef0123456789abcdef"
"""In the message of the exception a failed page or model call raises."""

CONTACT_EMAIL = "jane.doe@planted-contact.example"
"""In a log line."""

CONTACT_CARD = "4111 1111 1111 1111"
"""In the same log line."""

OPTION_API_KEY = "sk-or-v1-argvplanted9876543210fedcba9876543210"
"""For `--api-key` on the command line."""

EVERYTHING = (URL_TOKEN, MESSAGE_API_KEY, CONTACT_EMAIL, CONTACT_CARD, OPTION_API_KEY)
