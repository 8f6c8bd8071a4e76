TITLE = "install"
NEEDS = []
world = None


def start():
    pass


def stop():
    pass
