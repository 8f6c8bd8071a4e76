TITLE = "bad_input"
NEEDS = []
world = None


def start():
    pass


def stop():
    pass
