from --foo=x scratch AS Base
