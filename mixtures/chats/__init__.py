"""Conversations with an assistant, and dialogues of people in which one side is taken for one."""
