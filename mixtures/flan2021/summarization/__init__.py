"""Summaries of articles, mail, chats, guides and opinions; and AG News, whose topics FLAN counts among them."""
