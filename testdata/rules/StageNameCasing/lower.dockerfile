FROM scratch AS good_name-1.x
