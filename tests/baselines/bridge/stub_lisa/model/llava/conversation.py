"""A stub of LLaVA's conversation templates: roles, messages, and the text of them."""


class Conversation:
    roles = ("USER", "ASSISTANT")

    def __init__(self):
        self.messages = [["left", "over"]]

    def copy(self):
        return Conversation()

    def append_message(self, role, message):
        self.messages.append([role, message])

    def get_prompt(self):
        (user, question), (model, answer) = self.messages
        return f"SYSTEM {user}: {question} {model}:" + (f" {answer}</s>" if answer else "")


conv_templates = {"llava_v1": Conversation()}
