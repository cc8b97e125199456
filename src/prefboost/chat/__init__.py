"""Messages as data, and how a goal is said in them."""

from prefboost.chat.goal_text import PAPER_WORDING, Place, SayGoal, format_number, goal_text, place_goal
from prefboost.chat.messages import ROLES, Message, join_text, to_record

__all__ = [
    "PAPER_WORDING",
    "ROLES",
    "Message",
    "Place",
    "SayGoal",
    "format_number",
    "goal_text",
    "join_text",
    "place_goal",
    "to_record",
]
