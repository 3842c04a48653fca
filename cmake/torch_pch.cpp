// Carrier of the precompiled header that the LibTorch modules share.
