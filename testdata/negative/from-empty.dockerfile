FROM "" AS foo
