FROM scratch AS BadName
FROM scratch AS goodName
